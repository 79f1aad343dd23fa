"""The audit policy lies where nodes find it when the checkout that made them is gone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from tests.testbed import clusters, settings
from tests.testbed.settings import REGIONS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "CACHE", tmp_path / "cache")
    return settings.CACHE


def mounted() -> Path:
    """What the control plane of a region mounts as its policy."""
    nodes = cast("list[dict[str, Any]]", clusters.config(REGIONS["eu"], stock=True)["nodes"])
    (mount,) = (each for node in nodes for each in node.get("extraMounts", []))
    assert (mount["containerPath"], mount["readOnly"]) == ("/kind/audit.yaml", True)
    return Path(mount["hostPath"])


def test_nodes_mount_a_copy_in_the_cache(cache: Path) -> None:
    clusters.keep_audit_policy()
    assert mounted().is_relative_to(cache)
    assert mounted().read_bytes() == (settings.FILES / "audit.yaml").read_bytes()
    clusters.keep_audit_policy()
    assert [each.name for each in mounted().parent.iterdir()] == [mounted().name]


def test_another_policy_leaves_that_of_running_clusters_alone(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters.keep_audit_policy()
    before, content = mounted(), mounted().read_bytes()
    other = tmp_path / "audit.yaml"
    other.write_bytes(content + b"# changed\n")
    monkeypatch.setattr(clusters, "_AUDIT", other)
    clusters.keep_audit_policy()
    assert mounted() != before
    assert mounted().read_bytes() == other.read_bytes()
    assert before.read_bytes() == content


def test_both_clusters_may_be_made_at_once(cache: Path) -> None:
    with ThreadPoolExecutor(max_workers=4) as pool:
        for each in [pool.submit(clusters.keep_audit_policy) for _ in range(40)]:
            each.result()
    assert [each.name for each in mounted().parent.iterdir()] == [mounted().name]
