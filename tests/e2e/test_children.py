"""What somebody edits or deletes comes back, as it was, within a second or two."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from tests.e2e import operating, waiting
from tests.e2e.fleet import Fleet
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for

BUDGET = 15.0 + operating.TAKEOVER
"""Seconds that a test waits on busy cores, on which the leader may change just then; what it took is printed."""

POOL_CHILDREN = [
    ("Service", "tx"),
    ("Deployment", "tx-relay"),
    ("ConfigMap", "tx-relay"),
    ("ServiceAccount", "tx-relay"),
    ("NetworkPolicy", "tx-relay"),
    ("PodDisruptionBudget", "tx-relay"),
]


def essence(obj: dict[str, Any]) -> dict[str, Any]:
    """An object without what the API server writes into it, and without the image: a Deployment that is gone has forgotten which version
    its pods ran, so it comes back with the operator's."""
    obj = copy.deepcopy(obj)
    for container in obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
        container.pop("image")
    kept = {key: value for key, value in obj.items() if key not in ("status", "metadata")}
    spec = kept.get("spec")
    if isinstance(spec, dict):
        kept["spec"] = {key: value for key, value in spec.items() if key not in ("clusterIP", "clusterIPs", "ports")}
    return kept


@pytest.mark.parametrize(("kind", "name"), POOL_CHILDREN)
async def test_a_deleted_child_comes_back(us: Region, fleet: Fleet, kind: str, name: str) -> None:
    before = await us.api.get(kind, fleet.namespace, name)
    assert before is not None
    await us.api.delete(kind, fleet.namespace, name)
    began = time.monotonic()

    async def back() -> dict[str, Any]:
        found = await us.api.get(kind, fleet.namespace, name)
        if (
            not found
            or found["metadata"]["uid"] == before["metadata"]["uid"]
            or "deletionTimestamp" in found["metadata"]
        ):
            raise NotYet("not there")
        return found

    after = await wait_for(back, BUDGET, f"{kind} {name} comes back")
    print(f"{kind} came back after {time.monotonic() - began:.2f} s")
    assert essence(after) == essence(before)
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]


EDITS: list[tuple[str, str, dict[str, Any]]] = [
    ("Service", "tx", {"spec": {"externalTrafficPolicy": "Cluster"}}),
    ("Deployment", "tx-relay", {"spec": {"replicas": 1}}),
    ("ConfigMap", "tx-relay", {"data": {"relay.json": "{}"}}),
    ("PodDisruptionBudget", "tx-relay", {"spec": {"maxUnavailable": 3}}),
    ("NetworkPolicy", "tx-relay", {"spec": {"ingress": [{}]}}),
]


@pytest.mark.parametrize(("kind", "name", "edit"), EDITS, ids=[each[0] for each in EDITS])
async def test_an_edited_child_is_put_right(
    us: Region, fleet: Fleet, kind: str, name: str, edit: dict[str, Any]
) -> None:
    before = await us.api.get(kind, fleet.namespace, name)
    assert before is not None
    await us.api.patch(kind, fleet.namespace, name, edit)
    began = time.monotonic()

    async def right() -> bool:
        found = await us.api.get(kind, fleet.namespace, name)
        if not found or essence(found) != essence(before):
            raise NotYet("not as it was")
        return True

    await wait_for(right, BUDGET, f"{kind} {name} is put right")
    print(f"{kind} was put right after {time.monotonic() - began:.2f} s")


async def settled_slice(region: Region, fleet: Fleet) -> dict[str, Any]:
    """The pool's slice when it lists the relays that are there, and none that is ending: the tests before this one had some replaced."""
    labels = {"relayfleet.io/pool": fleet.pool}

    async def settled() -> dict[str, Any]:
        slices = await region.api.list("EndpointSlice", fleet.namespace, labels)
        pods = await region.api.list("Pod", fleet.namespace, labels)
        listed = sorted(each["addresses"][0] for one in slices for each in one.get("endpoints") or [])
        if len(slices) != 1 or listed != sorted(str(each["status"].get("podIP")) for each in pods):
            raise NotYet(f"listed {listed}, pods {[each['metadata']['name'] for each in pods]}")
        return slices[0]

    return await wait_for(settled, 120, "the slice lists the relays")


async def test_a_deleted_slice_comes_back(us: Region, fleet: Fleet) -> None:
    before = await settled_slice(us, fleet)
    await us.api.delete("EndpointSlice", fleet.namespace, before["metadata"]["name"])

    async def back() -> dict[str, Any]:
        found = await us.api.list("EndpointSlice", fleet.namespace, {"relayfleet.io/pool": fleet.pool})
        if not found or found[0]["metadata"]["uid"] == before["metadata"]["uid"]:
            raise NotYet("not there")
        return found[0]

    after = await wait_for(back, BUDGET, "the slice comes back")
    assert {each["addresses"][0] for each in after["endpoints"]} == {
        each["addresses"][0] for each in before["endpoints"]
    }


async def test_a_slice_that_does_not_belong_is_removed(us: Region, fleet: Fleet) -> None:
    own = await settled_slice(us, fleet)
    stray = {
        "apiVersion": own["apiVersion"],
        "kind": "EndpointSlice",
        "metadata": {"name": "stray", "namespace": fleet.namespace, "labels": own["metadata"]["labels"]},
        "addressType": "IPv4",
        "ports": own["ports"],
        "endpoints": [{"addresses": ["198.18.0.77"]}],
    }
    await us.apply(stray)
    await waiting.gone(us.api, stray, BUDGET)


async def test_children_show_in_the_tree_and_can_be_claimed_by_nobody_else(us: Region, fleet: Fleet) -> None:
    pool = await us.api.get("RelayPool", fleet.namespace, fleet.pool)
    assert pool is not None
    for kind, name in POOL_CHILDREN:
        child = await us.api.get(kind, fleet.namespace, name)
        assert child is not None
        assert [each["uid"] for each in child["metadata"]["ownerReferences"]] == [pool["metadata"]["uid"]]
        assert not any(key.startswith("argocd.") for key in child["metadata"].get("annotations", {}))
        assert child["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "relayfleet"


async def test_the_operator_never_writes_spec(us: Region, fleet: Fleet) -> None:
    for kind, name in (("RelayPool", fleet.pool), ("QueueCluster", fleet.queue), ("SendingIP", "us-1")):
        obj = await us.api.get(kind, fleet.namespace, name)
        assert obj is not None
        ours = [each for each in obj["metadata"]["managedFields"] if each["manager"] == "relayfleet"]
        assert [each["subresource"] for each in ours] == ["status"]
        assert "finalizers" not in obj["metadata"]
