"""A relay that is bad leaves traffic by itself, for the right reason, and comes back; a good one stays, whoever leads."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from relayfleet.api.labels import CORDON, POOL, SLICE_SERVICE
from relayfleet.children.relay.names import listener_port
from tests.e2e import operating, waiting
from tests.e2e.api import Object
from tests.e2e.fleet import USER, Fleet
from tests.e2e.mailing import NotAccepted, send_from_inside
from tests.e2e.objects import relay_pool
from tests.e2e.region import Region
from tests.e2e.traffic import flowing
from tests.e2e.waiting import NotYet, wait_for
from tests.sink.client import SinkClient
from tests.testbed import faults

pytestmark = pytest.mark.timeout(900)

Sinks = dict[str, dict[str, SinkClient]]
READY, LAST_RESORT, OUT = (True, True, False), (False, True, True), (False, False, False)
MAIL = b"From: sender@example.test\r\nTo: direct@example.test\r\nSubject: x\r\n\r\nhello\r\n"
LEAVES, RETURNS = 15.0, 120.0
"""Seconds that a test waits. How long it really takes is measured by `make bench BENCH=cordon`."""


async def relays(region: Region, fleet: Fleet) -> list[str]:
    """Names of the pool's pods."""
    pods = await region.api.list("Pod", fleet.namespace, {POOL: fleet.pool})
    return sorted(each["metadata"]["name"] for each in pods if "deletionTimestamp" not in each["metadata"])


async def places(region: Region, fleet: Fleet) -> dict[str, tuple[bool, bool, bool]]:
    """What the Service's first lane says of each relay."""
    slices = await region.api.list("EndpointSlice", fleet.namespace, {SLICE_SERVICE: fleet.pool})
    first = [each for each in slices if each["metadata"]["name"] == f"{fleet.pool}-ipv4-0"]
    return {
        endpoint["targetRef"]["name"]: tuple(endpoint["conditions"][key] for key in ("ready", "serving", "terminating"))
        for each in first
        for endpoint in each["endpoints"]
    }


async def placed(region: Region, fleet: Fleet, relay: str, *wanted: tuple[bool, bool, bool], budget: float) -> None:
    """Return when the relay is listed so."""

    async def holds() -> bool:
        found = await places(region, fleet)
        if found.get(relay) not in wanted:
            raise NotYet(str(found))
        return True

    await wait_for(holds, budget, f"{relay} is listed as {wanted}")


async def cordoned(region: Region, fleet: Fleet, relay: str, budget: float = LEAVES) -> Object:
    """The status's entry for a relay, as soon as there is one."""

    async def holds() -> Object:
        pool = await region.api.get("RelayPool", fleet.namespace, fleet.pool)
        assert pool is not None
        found: list[Object] = [each for each in pool["status"].get("cordoned", []) if each["name"] == relay]
        if not found:
            raise NotYet(str(pool["status"]))
        return found[0]

    return await wait_for(holds, budget, f"{relay} in the status")


@asynccontextmanager
async def frozen(region: Region, fleet: Fleet, relay: str) -> AsyncIterator[None]:
    """A relay that stands still: its kernel still takes connections, nobody answers them."""
    fault = faults.frozen_pod(region.name, fleet.namespace, relay, longest=60)
    await asyncio.to_thread(fault.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(fault.__exit__, None, None, None)


@pytest.fixture
async def watched(eu: Region, fleet: Fleet) -> AsyncIterator[Fleet]:
    """A pool whose relays have no past: all are listed, and both replicas of the operator watch them."""
    found = Fleet(fleet.namespace, f"watched-{secrets.token_hex(2)}", fleet.queue)
    selector = {"matchLabels": {"pool": fleet.pool}}
    pool = relay_pool(found.namespace, found.pool, found.queue, 3, sendingIPSelector=selector)
    await eu.apply(pool)
    try:
        for kind, status in (("Ready", "True"), ("Degraded", "False"), ("Reconciling", "False")):
            await waiting.condition(eu.api, pool, kind, status, RETURNS)
        for each in await relays(eu, found):
            await placed(eu, found, each, READY, budget=RETURNS)
        await _seen_by_both(eu)
        yield found
    finally:
        await eu.api.delete("RelayPool", found.namespace, found.pool)


async def _seen_by_both(region: Region) -> None:
    async def holds() -> bool:
        name, _ = await operating.leader(region)
        path = f"/api/v1/namespaces/{operating.NAMESPACE}/pods/{name}:8080/proxy/metrics"
        text = await region.kubectl("get", "--raw", path)
        vantages = {line.split('vantage="')[1].split('"')[0] for line in text.splitlines() if 'vantage="' in line}
        replicas = {each["metadata"]["name"] for each in await operating.replicas(region)}
        if vantages < replicas:
            raise NotYet(f"vantages {vantages}, replicas {replicas}")
        return True

    await wait_for(holds, 60, "both replicas of the operator see relays")


async def test_a_frozen_relay_leaves_traffic_and_comes_back(
    eu: Region, watched: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    relay, *others = await relays(eu, watched)
    async with flowing(eu, watched, tmp_path, count=600, rate=15) as traffic:
        await traffic.accepted(50)
        async with frozen(eu, watched, relay):
            await placed(eu, watched, relay, LAST_RESORT, OUT, budget=LEAVES)
            said = await cordoned(eu, watched, relay)
            assert said["reason"] == "Silent", said
            assert {each: (await places(eu, watched))[each] for each in others} == dict.fromkeys(others, READY)
        await placed(eu, watched, relay, READY, budget=RETURNS)
    assert traffic.verdict is not None
    print(traffic.verdict)
    assert traffic.verdict.lost == ()


async def test_a_relay_whose_process_dies_leaves_traffic_and_comes_back(eu: Region, watched: Fleet) -> None:
    relay, *_ = await relays(eu, watched)
    faults.kill_pod_process(eu.name, watched.namespace, relay)
    await placed(eu, watched, relay, OUT, LAST_RESORT, budget=LEAVES)
    await placed(eu, watched, relay, READY, budget=RETURNS)


async def answers(region: Region, fleet: Fleet, relay: str, code: int, budget: float) -> None:
    """Return when the relay itself, asked at its pod's address, says this to somebody new who brings a mail."""

    async def holds() -> bool:
        pod = await region.api.get("Pod", fleet.namespace, relay)
        assert pod is not None
        account = replace(fleet.inside, host=str(pod["status"]["podIP"]), port=listener_port(0, 0))
        said = 250
        try:
            await send_from_inside(region, fleet.namespace, account, USER, ["direct@example.test"], MAIL)
        except NotAccepted as refusal:
            said = refusal.code
        if said != code:
            raise NotYet(str(said))
        return True

    await wait_for(holds, budget, f"{relay} answers {code}")


async def test_a_relay_that_is_cordoned_hard_turns_clients_away_itself_until_it_is_taken_back(
    eu: Region, watched: Fleet
) -> None:
    relay, other, *_ = await relays(eu, watched)
    await answers(eu, watched, relay, 250, budget=RETURNS)
    await eu.api.patch("Pod", watched.namespace, relay, {"metadata": {"annotations": {CORDON: "Hard"}}})
    await placed(eu, watched, relay, OUT, budget=LEAVES)
    await answers(eu, watched, relay, 421, budget=LEAVES)
    await answers(eu, watched, other, 250, budget=LEAVES)
    await eu.api.patch("Pod", watched.namespace, relay, {"metadata": {"annotations": {CORDON: None}}})
    await answers(eu, watched, relay, 250, budget=LEAVES)
    await placed(eu, watched, relay, READY, budget=RETURNS)


async def test_a_new_leader_leaves_a_cordoned_relay_where_it_is(eu: Region, watched: Fleet) -> None:
    relay, *others = await relays(eu, watched)
    async with frozen(eu, watched, relay):
        await placed(eu, watched, relay, LAST_RESORT, OUT, budget=LEAVES)
        name, epoch = await operating.leader(eu)
        pods = {each["metadata"]["name"]: each for each in await operating.replicas(eu)}
        await operating.kill(eu, pods[name])
        seen = []
        for _ in range(60):
            seen.append(await places(eu, watched))
            await asyncio.sleep(0.2)
        assert (await operating.leader(eu))[1] > epoch
        assert READY not in [each[relay] for each in seen]
        assert all(each[other] == READY for each in seen for other in others), seen
    await placed(eu, watched, relay, READY, budget=RETURNS)


async def test_two_bad_relays_leave_and_the_last_one_never(eu: Region, watched: Fleet) -> None:
    names = await relays(eu, watched)
    async with frozen(eu, watched, names[0]), frozen(eu, watched, names[1]):
        for each in names[:2]:
            await placed(eu, watched, each, LAST_RESORT, OUT, budget=LEAVES)
        assert (await places(eu, watched))[names[2]] == READY
        async with frozen(eu, watched, names[2]):
            for _ in range(25):
                states = (await places(eu, watched)).values()
                assert any(serving for _, serving, _ in states), states
                await asyncio.sleep(0.2)
    for each in names:
        await placed(eu, watched, each, READY, budget=RETURNS)
