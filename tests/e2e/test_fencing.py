"""A relay that froze is cut off from the brokers: what it held is tried elsewhere, and when it goes on it has no say in it any more."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from relayfleet.api.labels import POOL
from tests.e2e import operating
from tests.e2e.api import Object
from tests.e2e.fleet import Fleet
from tests.e2e.region import Region
from tests.e2e.traffic import flowing
from tests.e2e.waiting import NotYet, wait_for
from tests.e2e.watching import all_return, frozen
from tests.sink.client import Line, SinkClient

pytestmark = pytest.mark.timeout(1800)

Sinks = dict[str, dict[str, SinkClient]]
COUNT = 12
ANSWERED = 30.0
HOLD = {"stage": "rcpt", "recipient": "held*@example.test", "delay": ANSWERED, "first": COUNT}
"""Each mail is tried once by whoever takes it first, who then waits at RCPT for so many seconds: longer than it takes, on busy cores too, until all
wait and one is frozen. Later tries are answered at once."""
ELSEWHERE = 10.0
"""Seconds from the freeze until others have delivered what the relay held, if one leader sees to it; if another takes over meanwhile, `TAKEOVER` more."""
NOTHING_MORE = 10.0
"""Seconds after the last of those answers in which the thawed relay sends nothing."""


async def addresses(region: Region, fleet: Fleet) -> dict[str, str]:
    """The relays by their pods' addresses, from which they send."""
    pods = await region.api.list("Pod", fleet.namespace, {POOL: fleet.pool})
    return {each["status"]["podIP"]: each["metadata"]["name"] for each in pods}


async def tried(sink: SinkClient) -> dict[str, list[str]]:
    """Who waits at RCPT, by address, and for whom."""
    found: dict[str, list[str]] = {}
    for each in await sink.deeds():
        found.setdefault(each["client"], []).extend(each["recipients"])
    return found


async def waits_for_an_answer(sink: SinkClient) -> tuple[str, list[str]]:
    """The relay that holds most of the mails, when all are held."""

    async def holds() -> dict[str, list[str]]:
        found = await tried(sink)
        if sum(map(len, found.values())) < COUNT:
            raise NotYet(str(found))
        return found

    found = await wait_for(holds, ANSWERED - 10.0, f"{COUNT} mails wait at RCPT")
    return max(found.items(), key=lambda each: len(each[1]))


async def fencing(region: Region, fleet: Fleet, words: str, budget: float = 15.0 + operating.TAKEOVER) -> Object:
    """The condition, as soon as its message has these words."""

    async def holds() -> Object:
        pool = await region.api.get("RelayPool", fleet.namespace, fleet.pool)
        assert pool is not None
        for each in pool["status"].get("conditions", []):
            if each["type"] == "Fencing" and words in each["message"]:
                found: Object = each
                return found
        raise NotYet(str(pool["status"]))

    return await wait_for(holds, budget, f"Fencing says {words!r}")


async def fences(region: Region, fleet: Fleet, budget: float = 15.0) -> set[tuple[str, str]]:
    """Relay and reason of the pool's fences, as soon as there is an event of one: it is written beside the status. Once or, when the leader changes,
    twice. Events stay for an hour, and relays of pools before it were frozen too."""

    async def told() -> set[tuple[str, str]]:
        events = await region.api.list("Event", fleet.namespace)
        found = {(each["involvedObject"]["name"], each["reason"]) for each in events if each.get("action") == "Fence"}
        return {each for each in found if each[0].startswith(f"{fleet.pool}-")}

    return await wait_for(told, budget, f"an event of a fence in {fleet.pool}")


async def deliveries(sink: SinkClient, recipients: list[str]) -> list[Line]:
    """Mails to these that have arrived."""
    return [each for each in await sink.messages() if {one["address"] for one in each["recipients"]} & set(recipients)]


async def test_what_a_frozen_relay_holds_is_tried_elsewhere_and_thawed_it_sends_nothing_more(
    eu: Region, watched: Fleet, sink: SinkClient, tmp_path: Path
) -> None:
    names = await addresses(eu, watched)
    assert (await fencing(eu, watched, "is cut off from the brokers"))["status"] == "True"
    await sink.put_rules(HOLD)
    recipients = ("held{n}@example.test",)
    async with flowing(eu, watched, tmp_path, rate=10, count=COUNT, recipients=recipients) as traffic:
        await traffic.accepted(COUNT)
        address, held = await waits_for_an_answer(sink)
        relay, all_answered = names[address], time.monotonic() + ANSWERED
        _, epoch = await operating.leader(eu)
        async with frozen(eu, watched, relay):
            began = time.time()
            arrived = await sink.wait_for(len(held), 60, lambda each: each["recipients"][0]["address"] in held)
            took = sorted(each["time"] - began for each in arrived)
            print(f"{relay} froze with {len(held)} mails: delivered by others after {took[0]:.1f} to {took[-1]:.1f} s")
            assert relay not in {names.get(each["client"]) for each in arrived}
            changed = (await operating.leader(eu))[1] != epoch
            assert took[-1] <= ELSEWHERE + (operating.TAKEOVER if changed else 0.0)
            assert (await fencing(eu, watched, relay))["reason"] == "Available"
            assert await fences(eu, watched) == {(relay, "Silent")}
        await asyncio.sleep(max(0.0, all_answered - time.monotonic()) + NOTHING_MORE)
        assert len(await deliveries(sink, held)) == len(held), "the thawed relay sent what others had sent"
        await all_return(eu, watched)
    verdict = traffic.verdict
    assert verdict is not None
    print(verdict)
    assert verdict.accepted == COUNT
    assert verdict.good
