"""Argo CD's view of our resources: the Lua script, run as Argo CD runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lupa
import pytest
import yaml

from relayfleet.api.schema import KINDS

FOLDER = Path(__file__).resolve().parents[3] / "manifests" / "argocd"
YES, NO = "True", "False"


def health(obj: dict[str, Any]) -> tuple[str, str]:
    """Status and message that the script gives an object."""
    runtime = lupa.LuaRuntime()
    runtime.globals()["obj"] = runtime.table_from(obj, recursive=True)
    answer = runtime.execute((FOLDER / "health.lua").read_text())
    return answer["status"], answer["message"]


def resource(generation: int = 2, observed: int | None = 2, deleted: bool = False, **conditions: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "a", "generation": generation}
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    each = [
        {"type": kind, "status": status, "reason": "Because", "message": f"{kind} says"}
        for kind, status in conditions.items()
    ]
    return {"metadata": metadata, "status": {"observedGeneration": observed, "conditions": each}}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param({"metadata": {"generation": 1}}, "Progressing", id="new, not seen yet"),
        pytest.param(resource(3, 2, Ready=YES), "Progressing", id="spec changed, not seen yet"),
        pytest.param(resource(Ready=NO, Reconciling=YES), "Progressing", id="converging"),
        pytest.param(resource(Ready=YES, Reconciling=NO, Degraded=NO), "Healthy", id="serving fully"),
        pytest.param(resource(Ready=YES, Reconciling=YES), "Progressing", id="serving, but rolling"),
        pytest.param(resource(Ready=YES, Degraded=YES), "Degraded", id="serving with less than asked"),
        pytest.param(resource(Ready=NO, Reconciling=YES, Degraded=YES), "Degraded", id="not serving, still trying"),
        pytest.param(resource(Ready=NO, Stalled=YES), "Degraded", id="a person has to act"),
        pytest.param(resource(Ready=YES, deleted=True), "Progressing", id="being deleted"),
    ],
)
def test_health(obj: dict[str, Any], expected: str) -> None:
    status, message = health(obj)
    assert status == expected
    assert message


def test_a_paused_resource_is_suspended_whatever_else_is_said() -> None:
    obj = resource(3, 2, Ready="Unknown", Degraded=YES)
    obj["status"]["conditions"][0]["reason"] = "Paused"
    assert health(obj)[0] == "Suspended"


def test_the_message_is_that_of_the_condition_that_decides() -> None:
    assert health(resource(Ready=YES, Degraded=YES))[1] == "Degraded says"


def test_every_kind_has_the_check_in_argo_cds_settings() -> None:
    settings = yaml.safe_load((FOLDER / "argocd-cm.yaml").read_text())["data"]
    script = (FOLDER / "health.lua").read_text()
    assert settings == {f"resource.customizations.health.relayfleet.io_{kind.kind}": script for kind in KINDS}
