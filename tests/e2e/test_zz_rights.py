"""The chart gives the operator exactly the rights that it uses. Runs last: what all the other tests made it do is in the audit log."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from tests.e2e import operating
from tests.e2e.fleet import Fleet
from tests.testbed import settings
from tests.testbed.settings import Region as Place
from tests.testbed.shell import run

ACCOUNT = "system:serviceaccount:relayfleet-system:relayfleet"
LOGS = "/var/log/kubernetes/audit*.log"
"""The API server begins a new one after 100 MB."""

Right = tuple[str, str, str]
"""API group, resource with subresource, verb."""


RARE: dict[Right, str] = {
    ("", "pods", "delete"): "a broker that hangs in a rollout, or a relay that stays bad, is deleted, to be made again",
    ("discovery.k8s.io", "endpointslices", "get"): "a slice that somebody else made under the name of ours is read",
}
"""Rights for what no test forces to happen, each with its use."""


def granted() -> set[Right]:
    """What the chart's roles say."""
    text = run(settings.BIN / "helm", "template", operating.RELEASE, operating.CHART, "--set", "region=eu")
    roles = [each for each in yaml.safe_load_all(text) if each and each["kind"] in ("ClusterRole", "Role")]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def entries(place: Place) -> list[dict[str, Any]]:
    """The audit log of a region's API server, as far as it is about the operator."""
    command = f"grep -hF {ACCOUNT} {LOGS}"
    lines = run("docker", "exec", place.control_plane, "sh", "-c", command).splitlines()
    found = [json.loads(line) for line in lines[:-1]]
    with contextlib.suppress(ValueError):  # the last one may be half written
        found.append(json.loads(lines[-1]))
    return [
        each
        for each in found
        if each["user"]["username"] == ACCOUNT and each["stage"] == "ResponseComplete" and "objectRef" in each
    ]


def used(entry: dict[str, Any]) -> set[Right]:
    """The rights that a request needed. A server-side apply that made an object needed the right to create, too."""
    about = entry["objectRef"]
    resource = about["resource"] + (f"/{about['subresource']}" if about.get("subresource") else "")
    rights = {(about.get("apiGroup", ""), resource, entry["verb"])}
    if entry["verb"] == "patch" and entry["responseStatus"]["code"] == 201:
        rights.add((about.get("apiGroup", ""), resource, "create"))
    return rights


@pytest.fixture(scope="module")
def log(places: Mapping[str, Place], installed_fleet: Fleet) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(len(places)) as threads:
        return [entry for part in threads.map(entries, places.values()) for entry in part]


def test_nothing_was_forbidden(log: list[dict[str, Any]]) -> None:
    decision = (
        "authorization.k8s.io/decision"  # other refusals, say of a namespace that is ending, are no matter of rights
    )
    refused = {right for each in log if each["annotations"].get(decision) == "forbid" for right in used(each)}
    assert log
    assert refused == set()


def test_no_right_is_given_that_is_not_used(log: list[dict[str, Any]], request: pytest.FixtureRequest) -> None:
    ran = {item.path.name for item in request.session.items}
    if missing := {"test_children.py", "test_operator.py", "test_problems.py"} - ran:
        pytest.skip(
            f"only a run of all end-to-end tests uses every right; this one left out {', '.join(sorted(missing))}"
        )
    needed = {right for each in log for right in used(each)}
    assert granted() - needed - set(RARE) == set()
    assert needed - granted() == set()


def test_secrets_are_neither_listed_nor_watched(log: list[dict[str, Any]]) -> None:
    verbs = {each["verb"] for each in log if each["objectRef"]["resource"] == "secrets"}
    assert verbs <= {"get", "create", "patch"}


def test_no_secret_of_a_user_was_read(log: list[dict[str, Any]]) -> None:
    names = {
        each["objectRef"]["name"]
        for each in log
        if each["objectRef"]["resource"] == "secrets" and "name" in each["objectRef"]
    }
    assert names
    generated = ("-control", "-sealing", "-sealing-copy")
    assert {name for name in names if "-rabbitmq-" not in name and not name.endswith(generated)} == set()
