"""A pool seals its mail from the start, by keys that come back when somebody deletes them, whoever leads."""

from __future__ import annotations

import json

from relayfleet.protocol.sealing import ENTRY
from tests.e2e import operating
from tests.e2e.api import Object
from tests.e2e.fleet import Fleet
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for

BUDGET = 15.0 + operating.TAKEOVER
"""Seconds that a test waits: Secrets are not watched but read every two, and on busy cores a look takes several; the leader may change."""


async def test_a_new_pool_is_told_to_seal_and_says_by_which_key(us: Region, fleet: Fleet) -> None:
    queue = await us.api.get("QueueCluster", fleet.namespace, fleet.queue)
    pool = await us.api.get("RelayPool", fleet.namespace, fleet.pool)
    told = await us.api.get("ConfigMap", fleet.namespace, f"{fleet.pool}-relay")
    assert queue is not None
    assert pool is not None
    assert told is not None
    assert queue["status"]["sealingKey"]
    assert pool["status"]["sealed"] is True
    assert json.loads(told["data"]["relay.json"])["seal"] is True


async def deleted_and_back(region: Region, fleet: Fleet, before: Object) -> Object:
    """The Secret that is made in place of this one."""
    name = before["metadata"]["name"]
    await region.api.delete("Secret", fleet.namespace, name)

    async def back() -> Object:
        found = await region.api.get("Secret", fleet.namespace, name)
        if not found or found["metadata"]["uid"] == before["metadata"]["uid"]:
            raise NotYet("not there")
        return found

    return await wait_for(back, BUDGET, f"Secret {name} comes back")


async def test_deleted_keys_come_back_as_they_were_and_have_no_owner(us: Region, fleet: Fleet) -> None:
    before = await us.api.get("Secret", fleet.namespace, f"{fleet.queue}-sealing")
    assert before is not None
    after = await deleted_and_back(us, fleet, before)
    assert after["data"][ENTRY] == before["data"][ENTRY]
    assert "ownerReferences" not in after["metadata"]


async def test_keys_that_are_deleted_between_two_leaders_come_back_as_they_were(us: Region, fleet: Fleet) -> None:
    before = await us.api.get("Secret", fleet.namespace, f"{fleet.queue}-sealing")
    assert before is not None
    await operating.complete(us)
    name, _ = await operating.leader(us)
    leader = await us.api.get("Pod", operating.NAMESPACE, name)
    assert leader is not None
    await operating.kill(us, leader)
    after = await deleted_and_back(us, fleet, before)
    assert after["data"][ENTRY] == before["data"][ENTRY]
