"""A pool seals its mail from the start, by keys that come back when somebody deletes them."""

from __future__ import annotations

import json
from typing import Any

from relayfleet.protocol.sealing import ENTRY
from tests.e2e.fleet import Fleet
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for

BUDGET = 30.0
"""Seconds that a test waits on busy cores: Secrets are not watched but read every two."""


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


async def test_deleted_keys_come_back_as_they_were_and_have_no_owner(us: Region, fleet: Fleet) -> None:
    name = f"{fleet.queue}-sealing"
    before = await us.api.get("Secret", fleet.namespace, name)
    assert before is not None
    await us.api.delete("Secret", fleet.namespace, name)

    async def back() -> dict[str, Any]:
        found = await us.api.get("Secret", fleet.namespace, name)
        if not found or found["metadata"]["uid"] == before["metadata"]["uid"]:
            raise NotYet("not there")
        return found

    after = await wait_for(back, BUDGET, f"Secret {name} comes back")
    assert after["data"][ENTRY] == before["data"][ENTRY]
    assert "ownerReferences" not in after["metadata"]
