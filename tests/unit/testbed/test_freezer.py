"""Processes left frozen by a dead engine: only those of the containers that were asked for go on."""

from __future__ import annotations

from pathlib import Path

from tests.testbed.freezer import thaw

OURS, OTHER = "a" * 64, "b" * 64


def group(root: Path, path: str, state: str) -> Path:
    found = root / "docker" / path / "freezer.state"
    found.parent.mkdir(parents=True)
    found.write_text(f"{state}\n")
    return found


def test_what_is_frozen_in_our_containers_goes_on_and_nothing_else(tmp_path: Path) -> None:
    pod = group(tmp_path, f"{OURS}/kubelet.slice/pod.slice/one.scope", "FROZEN")
    freezing = group(tmp_path, f"{OURS}/kubelet.slice/pod.slice/two.scope", "FREEZING")
    awake = group(tmp_path, f"{OURS}/system.slice", "THAWED")
    foreign = group(tmp_path, f"{OTHER}/one.scope", "FROZEN")
    assert thaw([OURS], tmp_path) == 2
    assert [each.read_text().strip() for each in (pod, freezing, awake, foreign)] == [
        "THAWED",
        "THAWED",
        "THAWED",
        "FROZEN",
    ]


def test_where_there_is_no_such_hierarchy_nothing_is_frozen(tmp_path: Path) -> None:
    assert thaw([OURS], tmp_path / "absent") == 0
