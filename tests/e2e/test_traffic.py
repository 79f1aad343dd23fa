"""Faults and changes under traffic: nothing that was accepted is lost, nothing arrives twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e import waiting
from tests.e2e.api import Object
from tests.e2e.fleet import Fleet
from tests.e2e.objects import queue_cluster
from tests.e2e.region import Region
from tests.e2e.traffic import flowing
from tests.e2e.waiting import NotYet, wait_for
from tests.ledger.judge import Verdict
from tests.sink.client import SinkClient

pytestmark = pytest.mark.timeout(2400)

Sinks = dict[str, dict[str, SinkClient]]
RESTORED = 60.0
"""Seconds until a deleted Secret is back: it is looked for each two (`queuecluster.AGAIN`), after a look at the brokers that may take some ten, and
another leader may have to do it, from the copy (15 more, see `operating.TAKEOVER`)."""


async def scaled(region: Region, fleet: Fleet, replicas: int, budget: float = 120.0) -> None:
    """Ask for this many relays through the scale subresource, as an autoscaler would, and wait until they are what is listed."""
    await region.kubectl("scale", "-n", fleet.namespace, "relaypool", fleet.pool, f"--replicas={replicas}")

    async def holds() -> bool:
        pool = await region.api.get("RelayPool", fleet.namespace, fleet.pool)
        assert pool is not None
        status = pool.get("status", {})
        if status.get("relays") != f"{replicas}/{replicas}" or status.get("replicas") != replicas:
            raise NotYet(f"{status.get('relays')}, {status.get('replicas')} pods")
        return True

    await wait_for(holds, budget, f"{replicas} relays listed")


UNDER_WAY = 20
"""Deliveries that can be between their dot and the journal's confirm when a broker goes."""


def assert_nothing_lost(verdict: Verdict) -> None:
    """When a broker goes, a delivery whose outcome was not confirmed is *uncertain*, and tried again after ten minutes: its mail may arrive
    twice, since the other choice would be to lose it. No others may."""
    assert verdict.lost == ()
    assert verdict.altered == ()
    assert len(verdict.duplicates) <= UNDER_WAY


async def test_scaling_under_traffic_loses_nothing(eu: Region, fleet: Fleet, sinks: Sinks, tmp_path: Path) -> None:
    try:
        async with flowing(eu, fleet, tmp_path, rate=25) as traffic:
            await traffic.accepted(50)
            await scaled(eu, fleet, 5)
            await scaled(eu, fleet, 1)
            await traffic.more(100)  # by the only one: of the two nodes one takes connections
            await scaled(eu, fleet, 3)
    finally:
        await scaled(eu, fleet, 3)
    assert traffic.verdict is not None
    print(traffic.verdict)
    assert traffic.verdict.accepted == traffic.sent
    assert traffic.verdict.good, traffic.verdict


async def test_a_killed_broker_under_traffic_loses_nothing(
    eu: Region, fleet: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    async with flowing(eu, fleet, tmp_path, count=1000, rate=25) as traffic:
        await traffic.accepted(100)
        await eu.api.delete("Pod", fleet.namespace, f"{fleet.queue}-rabbitmq-0", grace=0)
        await traffic.accepted(600)
    assert traffic.verdict is not None
    print(traffic.verdict)
    assert traffic.verdict.accepted == 1000
    assert_nothing_lost(traffic.verdict)
    await waiting.ready(eu.api, queue_cluster(fleet.namespace, fleet.queue), budget=180)


async def test_a_deleted_credentials_secret_and_a_restarted_broker_lose_nothing(
    eu: Region, fleet: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    async with flowing(eu, fleet, tmp_path, rate=15) as traffic:
        await traffic.accepted(50)
        before = []
        for name in ("admin", "client"):
            secret = await eu.api.get("Secret", fleet.namespace, f"{fleet.queue}-rabbitmq-{name}")
            assert secret is not None
            before.append(secret)
            await eu.api.delete("Secret", fleet.namespace, secret["metadata"]["name"])
        admin, _ = await asyncio.gather(*(_back(eu, fleet, each) for each in before))
        assert admin["data"] == before[0]["data"]
        await eu.api.delete("Pod", fleet.namespace, f"{fleet.queue}-rabbitmq-1")
        await traffic.more(300)
    assert traffic.verdict is not None
    print(traffic.verdict)
    assert traffic.verdict.accepted == traffic.sent
    assert_nothing_lost(traffic.verdict)
    await waiting.ready(eu.api, queue_cluster(fleet.namespace, fleet.queue), budget=180)


async def _back(region: Region, fleet: Fleet, before: Object) -> Object:
    """The Secret as soon as it is there again."""
    name, uid = before["metadata"]["name"], before["metadata"]["uid"]

    async def holds() -> Object:
        found = await region.api.get("Secret", fleet.namespace, name)
        if found is None or found["metadata"]["uid"] == uid:
            raise NotYet("not there")
        return found

    return await wait_for(holds, RESTORED, f"Secret {name} is back")
