"""What is not a relay's fault is blamed on no relay, and whatever breaks, what was accepted arrives.

Each test breaks something for some twenty seconds under traffic and looks at the Service ten times a second.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from relayfleet.decide.health.fold import CONNECTIONS
from tests.e2e import operating, waiting
from tests.e2e.api import ApiError
from tests.e2e.fleet import Fleet
from tests.e2e.objects import queue_cluster
from tests.e2e.region import Region
from tests.e2e.traffic import Traffic, flowing
from tests.e2e.watching import (
    FROZEN,
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
from tests.testbed import faults, network_faults

pytestmark = pytest.mark.timeout(1800)

Sinks = dict[str, dict[str, SinkClient]]
LASTS = 20.0
FEWEST_LOOKS = 20
NAMED = 30.0 + operating.TAKEOVER
"""Seconds until the status has to name a broker: a second or two where it confirms quickly, more on cores that are busy with other things, on which the
leader may change, too."""
SEES_AGAIN = 120.0
"""Seconds after which the operator sees and writes when the API server is back: a watch that broke meanwhile and said nothing is begun anew after 70
(`handlers.SILENT_WATCH`); then a cordon takes as long as always, and another leader may do it (30, see `LEAVES`)."""
SERVED = 100
"""Mails that are accepted in half a minute in which the client has 450, however busy the cores are; it holds four at a time, so a Service that fails takes
no more than those."""
STALLED = ("Silent", "Slow")


@dataclass
class Looks:
    """How the Service listed the relays, look by look."""

    seen: list[dict[str, tuple[bool, bool, bool]]] = field(default_factory=list)
    said: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def out_of(self, relay: str) -> int:
        """How often the relay left."""
        states = [each.get(relay) == READY for each in self.seen]
        return sum(before and not after for before, after in itertools.pairwise(states))

    def assert_not_blamed(self, *names: str) -> None:
        """None was taken for dead, or left for what the fault does. A relay that the machine's busy cores let stand still rightly leaves
        softly for a moment, since it is `Silent` or `Slow`, or greets nobody meanwhile; a fault that lasts would make it hard within seconds."""
        states = {name: Counter(each.get(name) for each in self.seen) for name in names}
        print({name: dict(found) for name, found in states.items()}, dict(self.said))
        assert not [name for name, found in states.items() if set(found) - {READY, LAST_RESORT}], (states, self.said)
        blamed = {words: count for words, count in self.said.items() if words[0] in names and not stalled(*words[1:])}
        assert not blamed, self.said


def stalled(reason: str, message: str) -> bool:
    """Words about a relay that stood still."""
    return reason in STALLED or (reason == "Erring" and f"turned {CONNECTIONS} away" in message)


@asynccontextmanager
async def looked_at(region: Region, fleet: Fleet) -> AsyncIterator[Looks]:
    """Looks at the Service's endpoints while the block runs. While no API server answers there is nothing to see, and nothing changes."""
    looks = Looks()

    async def look() -> None:
        while True:
            try:
                async with asyncio.timeout(2):
                    looks.seen.append(await places(region, fleet))
                    looks.said.update(await said_of(region, fleet))
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(0.1)

    task = asyncio.create_task(look())
    try:
        yield looks
        assert not task.done(), f"nobody looked to the end: {task.exception()!r}"
        assert len(looks.seen) >= FEWEST_LOOKS, f"{len(looks.seen)} looks show nothing"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def said_of(region: Region, fleet: Fleet) -> list[tuple[str, str, str]]:
    """Name, reason and message of each relay that is out, as the status has them."""
    pool = await region.api.get("RelayPool", fleet.namespace, fleet.pool)
    assert pool is not None
    return [(each["name"], each["reason"], each["message"]) for each in pool["status"].get("cordoned", [])]


@asynccontextmanager
async def broken(*faults: AbstractContextManager[None]) -> AsyncIterator[None]:
    """All of them at once, for as long as the block runs."""
    with ExitStack() as stack:
        for each in faults:
            await asyncio.to_thread(stack.enter_context, each)
        try:
            yield
        finally:
            await asyncio.to_thread(stack.pop_all().close)


def accepted(traffic: Traffic) -> int:
    """Mails that the client has seen a 250 for."""
    return [each.outcome for each in traffic.entries].count("accepted")


def assert_all_arrived(traffic: Traffic) -> None:
    """All that was sent was accepted, and all that was accepted arrived."""
    verdict = traffic.verdict
    assert verdict is not None
    print(verdict)
    assert verdict.accepted == traffic.sent
    assert verdict.lost == ()
    assert verdict.altered == ()


async def pods(region: Region, namespace: str, part: str) -> list[str]:
    """Names of the namespace's pods that have this in their names."""
    found = await region.api.list("Pod", namespace)
    return sorted(each["metadata"]["name"] for each in found if part in each["metadata"]["name"])


async def test_a_dead_provider_is_blamed_on_no_relay(eu: Region, unharmed: Fleet, sinks: Sinks, tmp_path: Path) -> None:
    names = await relays(eu, unharmed)
    (tmp_path / "dead").mkdir()
    to_the_dead = flowing(
        eu,
        unharmed,
        tmp_path / "dead",
        rate=15,
        count=300,
        recipients=("r{n}@dead.example.test",),
        arrives=False,
    )
    async with (
        flowing(eu, unharmed, tmp_path, rate=15, count=300) as traffic,
        looked_at(eu, unharmed) as looks,
        to_the_dead as dead,
    ):
        await dead.accepted(250)
    looks.assert_not_blamed(*names)
    assert_all_arrived(traffic)


async def test_resolvers_that_answer_nobody_are_blamed_on_no_relay(
    eu: Region, unharmed: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    names = await relays(eu, unharmed)
    resolvers = await pods(eu, "kube-system", "coredns")
    assert resolvers
    async with flowing(eu, unharmed, tmp_path, rate=15) as traffic, looked_at(eu, unharmed) as looks:
        await traffic.accepted(60)
        async with broken(*(faults.frozen_pod("eu", "kube-system", each) for each in resolvers)):
            await asyncio.sleep(LASTS)
    looks.assert_not_blamed(*names)
    assert_all_arrived(traffic)


async def test_a_broker_that_stands_still_is_blamed_on_no_relay_and_is_named_by_its_queue(
    eu: Region, unharmed: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    names, broker = await relays(eu, unharmed), f"{unharmed.queue}-rabbitmq-0"
    queue = queue_cluster(unharmed.namespace, unharmed.queue)
    await waiting.condition(eu.api, queue, "Degraded", "False", RETURNS)
    async with flowing(eu, unharmed, tmp_path, rate=15) as traffic, looked_at(eu, unharmed) as looks:
        await traffic.accepted(60)
        async with broken(faults.frozen_pod("eu", unharmed.namespace, broker, longest=2 * NAMED)):
            began = time.monotonic()
            found = await waiting.condition(eu.api, queue, "Degraded", "True", NAMED, "BrokerSilent")
            took = time.monotonic() - began
            said = {each["type"]: each for each in found["status"]["conditions"]}
            print(f"named after {took:.1f} s: {said['Degraded']['message']}")
            assert f"broker {broker} has confirmed nothing since" in said["Degraded"]["message"]
            assert said["Ready"]["status"] == "True", said
            assert found["status"]["brokers"] == "2/3"
            await asyncio.sleep(max(0.0, LASTS - took))
    looks.assert_not_blamed(*names)
    assert_all_arrived(traffic)
    await waiting.condition(eu.api, queue, "Degraded", "False", RETURNS)


async def test_an_operator_that_is_cut_off_from_relays_takes_none_for_dead(
    eu: Region, unharmed: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    """Both of its replicas lose every packet to and from the relays, while the API server hears them."""
    await operating.complete(eu)
    names = await relays(eu, unharmed)
    addresses = [str((await _pod(eu, unharmed, each))["status"]["podIP"]) for each in names]
    replicas = [str(each["metadata"]["name"]) for each in await operating.replicas(eu)]
    cuts = [network_faults.blocked("eu", operating.NAMESPACE, each, peers=addresses) for each in replicas]
    async with flowing(eu, unharmed, tmp_path, rate=15) as traffic, looked_at(eu, unharmed) as looks:
        await traffic.accepted(60)
        async with broken(*cuts):
            await asyncio.sleep(LASTS)
        await asyncio.sleep(5)
    looks.assert_not_blamed(*names)
    assert_all_arrived(traffic)


async def test_without_an_api_server_mail_flows_and_afterwards_cordons_work(
    eu: Region, watched: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    relay, *others = await relays(eu, watched)
    async with flowing(eu, watched, tmp_path, rate=15) as traffic, looked_at(eu, watched) as looks:
        await traffic.accepted(60)
        async with broken(faults.stopped_api_server("eu")):
            before = accepted(traffic)
            await asyncio.sleep(30)
            during = accepted(traffic) - before
        assert during > SERVED, f"the client was not served meanwhile: {during} mails accepted"
        await asyncio.sleep(5)
        looks.assert_not_blamed(relay, *others)
        async with frozen(eu, watched, relay):
            await placed(eu, watched, relay, LAST_RESORT, OUT, budget=SEES_AGAIN)
    assert_all_arrived(traffic)
    await all_return(eu, watched)


async def test_a_dead_relay_is_told_from_a_broker_that_stands_still_at_the_same_time(
    eu: Region, watched: Fleet, sinks: Sinks, tmp_path: Path
) -> None:
    relay, *others = await relays(eu, watched)
    async with flowing(eu, watched, tmp_path, rate=15) as traffic, looked_at(eu, watched) as looks:
        await traffic.accepted(60)
        broker = f"{watched.queue}-rabbitmq-1"
        async with broken(faults.frozen_pod("eu", watched.namespace, broker, longest=FROZEN)):
            await asyncio.sleep(3)
            async with frozen(eu, watched, relay):
                await placed(eu, watched, relay, LAST_RESORT, OUT, budget=LEAVES)
                await cordoned(eu, watched, relay, reason="Silent")
    looks.assert_not_blamed(*others)
    assert_all_arrived(traffic)
    await all_return(eu, watched)


async def test_a_relay_that_comes_and_goes_stays_out_for_longer_each_time(eu: Region, watched: Fleet) -> None:
    relay, *others = await relays(eu, watched)
    async with looked_at(eu, watched) as looks:
        for _ in range(8):
            if relay not in await relays(eu, watched):
                break  # on busy cores the two seconds may be three: then it is out for good, and made anew after a minute
            async with frozen(eu, watched, relay):
                await asyncio.sleep(2)
            await asyncio.sleep(3)
    looks.assert_not_blamed(*others)
    assert 1 <= looks.out_of(relay) <= 3, looks.out_of(relay)


async def _pod(region: Region, fleet: Fleet, name: str) -> dict[str, dict[str, object]]:
    found = await region.api.get("Pod", fleet.namespace, name)
    assert found is not None
    return found
