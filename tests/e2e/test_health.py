"""A relay that is bad leaves traffic by itself, for the right reason, and comes back; a good one stays, whoever leads."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from relayfleet.api.labels import CORDON
from relayfleet.children.relay.names import listener_port
from tests.e2e import operating
from tests.e2e.fleet import USER, Fleet
from tests.e2e.mailing import NotAccepted, send_from_inside
from tests.e2e.region import Region
from tests.e2e.traffic import flowing
from tests.e2e.waiting import NotYet, wait_for
from tests.e2e.watching import (
    LAST_RESORT,
    LEAVES,
    OUT,
    READY,
    RETURNS,
    all_return,
    cordoned,
    frozen,
    placed,
    places,
    relays,
)
from tests.sink.client import SinkClient
from tests.testbed import faults

pytestmark = pytest.mark.timeout(1800)

Sinks = dict[str, dict[str, SinkClient]]
LED, TAKEN_OVER = 8.0, 25.0 + operating.TAKEOVER
"""Seconds for which a new leader is looked at, and by which that is over, also when it stands still once itself."""
MAIL = b"From: sender@example.test\r\nTo: direct@example.test\r\nSubject: x\r\n\r\nhello\r\n"


async def test_a_frozen_relay_leaves_traffic_and_comes_back(
    eu: Region, watched: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    relay, *others = await relays(eu, watched)
    async with flowing(eu, watched, tmp_path, rate=15) as traffic:
        await traffic.accepted(50)
        async with frozen(eu, watched, relay):
            await placed(eu, watched, relay, LAST_RESORT, OUT, budget=LEAVES)
            await cordoned(eu, watched, relay, reason="Silent")
            assert_in_service(await places(eu, watched), others)
        await all_return(eu, watched)
    assert traffic.verdict is not None
    print(traffic.verdict)
    assert traffic.verdict.lost == ()


async def test_a_relay_whose_process_dies_leaves_traffic_and_comes_back(eu: Region, watched: Fleet) -> None:
    relay, *_ = await relays(eu, watched)

    async def leaves() -> None:
        # Within a second or two it is started again: while nobody leads, nobody sees that it was away.
        await asyncio.to_thread(faults.kill_pod_process, eu.name, watched.namespace, relay)
        await placed(eu, watched, relay, OUT, LAST_RESORT, budget=LEAVES)

    await operating.under_one_leader(eu, leaves)
    await all_return(eu, watched)


def assert_in_service(found: dict[str, tuple[bool, bool, bool]], names: list[str]) -> None:
    """None of these was taken for dead, and never all of them are passed over: one that busy cores let stand still for a moment rightly is, while
    others take traffic."""
    assert {found.get(each) for each in names} <= {READY, LAST_RESORT}, found
    assert READY in [found.get(each) for each in names], found


async def answers(region: Region, fleet: Fleet, relay: str, code: int, budget: float) -> None:
    """Return when the relay itself, asked at its pod's address, says this to somebody new who brings a mail."""

    async def holds() -> bool:
        pod = await region.api.get("Pod", fleet.namespace, relay)
        assert pod is not None, f"{relay} was made anew"
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
    await all_return(eu, watched)


async def test_a_new_leader_leaves_a_cordoned_relay_where_it_is(eu: Region, watched: Fleet) -> None:
    await operating.complete(eu)
    relay, *others = await relays(eu, watched)
    async with frozen(eu, watched, relay):
        await placed(eu, watched, relay, LAST_RESORT, OUT, budget=LEAVES)
        name, epoch = await operating.leader(eu)
        pods = {each["metadata"]["name"]: each for each in await operating.replicas(eu)}
        await operating.kill(eu, pods[name])
        seen, killed, taken_over = [], time.monotonic(), 0.0
        while not taken_over or time.monotonic() - taken_over < LED:
            assert time.monotonic() - killed < TAKEN_OVER, "nobody else leads"
            seen.append(await places(eu, watched))
            if not taken_over and (await operating.leader(eu))[1] > epoch:
                taken_over = time.monotonic()
            await asyncio.sleep(0.2)
        places_seen = [each[relay] for each in seen if relay in each]
        assert places_seen, "it was made anew before anybody looked"
        assert READY not in places_seen
        for each in seen:
            assert_in_service(each, others)
    await all_return(eu, watched)


async def test_two_bad_relays_leave_and_the_last_one_never(eu: Region, watched: Fleet) -> None:
    names = await relays(eu, watched)
    async with frozen(eu, watched, names[0]), frozen(eu, watched, names[1]):
        for each in names[:2]:
            await placed(eu, watched, each, LAST_RESORT, OUT, budget=LEAVES)
        assert_in_service(await places(eu, watched), names[2:])
        async with frozen(eu, watched, names[2]):
            for _ in range(25):
                states = (await places(eu, watched)).values()
                assert any(serving for _, serving, _ in states), states
                await asyncio.sleep(0.2)
    await all_return(eu, watched)
