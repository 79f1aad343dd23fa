"""A relay with two real resolvers, one or both of which break: how long a mail's question takes, and that they come back.

What is promised is held against the time of a question less what this process was away meanwhile, or the resolver that is well needed for one
that was asked of it directly: on a busy machine that says nothing of the switch.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass

import dns.name
import dns.rdatatype
import pytest

from relayfleet.protocol.telemetry import DependencyState
from relayfleet.relay.dependencies.resolvers import INTERVAL, TIMEOUT, Resolvers
from relayfleet.relay.dependencies.verdict import FAILURES, HURRY
from relayfleet.relay.routing.errors import DnsTemporary
from relayfleet.relay.routing.lookup import HEDGE_SECONDS, LIFETIME_SECONDS, Lookup
from relayfleet.relay.routing.query import FAILURES as NO_RESPONSE
from relayfleet.relay.routing.query import query
from relayfleet.relay.routing.resolver import STALE_AFTER, Resolver
from relayfleet.relay.routing.servers import Server
from tests.relay import bind
from tests.relay.bind import Bind
from tests.relay.dependencies.servers import eventually

SWITCH = 0.5
"""What is promised."""
TICK = 0.01
ZONE = """$TTL 1
@ IN SOA ns root 1 60 60 60 1
@ IN NS ns
ns IN A 192.0.2.53
mx IN A 192.0.2.1
* IN MX 10 mx
"""
_ANY = dns.name.from_text("reference.mail.test")
ANSWERS, DOWN = DependencyState.ANSWERS, DependencyState.DOWN


@pytest.fixture(scope="module")
def _servers() -> Iterator[tuple[Bind, Bind]]:
    with bind.running({"mail.test": ZONE}) as first, bind.running({"mail.test": ZONE}) as second:
        yield first, second


@pytest.fixture
async def servers(_servers: tuple[Bind, Bind]) -> tuple[Bind, Bind]:
    """Both answer."""
    for each in _servers:
        await answering(each)
    return _servers


async def answering(server: Bind) -> None:
    lookup = Lookup([server.address])
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(DnsTemporary):
                await lookup.ask("any.mail.test", "MX")
                return
            await asyncio.sleep(0.1)


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one question, and those of them in which this process was away or the resolver that is well was slow."""

    seconds: float
    away: float

    @property
    def own(self) -> float:
        return self.seconds - self.away

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s (away {self.away:.3f} s)"


class Stopwatch:
    """Times questions. Away is what its ticks are late: those of a clock, and the answers of `server` if there is one."""

    def __init__(self, server: Server | None = None) -> None:
        self._now = asyncio.get_running_loop().time
        self._server = server
        self._ticks: list[tuple[float, float]] = []
        self._due = math.inf

    async def run(self) -> None:
        while True:
            await self._tick(asyncio.sleep(TICK))
            if self._server is not None:
                await self._tick(query(_ANY, dns.rdatatype.MX, self._server, LIFETIME_SECONDS))

    async def _tick(self, comes: Awaitable[object]) -> None:
        self._due = self._now() + TICK
        with contextlib.suppress(*NO_RESPONSE):
            await comes
        self._ticks.append((self._due, self._now()))

    async def time(self, names: Resolver | Lookup, name: str) -> Took:
        began = self._now()
        await (names.ask(name, "MX") if isinstance(names, Lookup) else names.mail_exchangers(name))
        ended = self._now()
        away = sum(max(0.0, min(ended, came) - max(began, due)) for due, came in [*self._ticks, (self._due, ended)])
        return Took(ended - began, away)


@contextlib.asynccontextmanager
async def watching(server: Server | None = None) -> AsyncIterator[Stopwatch]:
    found = Stopwatch(server)
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def watch(servers: tuple[Bind, Bind]) -> AsyncIterator[Stopwatch]:
    """The second resolver is well in all these tests but one."""
    async with watching(servers[1].address) as found:
        yield found


_numbers = itertools.count()


def fresh() -> str:
    """A name that nobody has in memory."""
    return f"d{next(_numbers)}.mail.test"


async def test_of_two_resolvers_one_that_stands_still_costs_one_question_less_than_half_a_second(
    servers: tuple[Bind, Bind], watch: Stopwatch
) -> None:
    first, second = servers
    names = Resolver(Lookup([first.address, second.address]))
    before = await watch.time(names, fresh())
    with first.frozen():
        await asyncio.sleep(0.1)  # the order to freeze it kept this process busy
        switching, after = await watch.time(names, fresh()), await watch.time(names, fresh())
    print(f"before {before}, switching {switching}, after {after}")
    assert switching.seconds > HEDGE_SECONDS * 0.9, "it was the frozen one that was asked first"
    assert switching.own < SWITCH
    assert max(before.own, after.own) < HEDGE_SECONDS * 0.9


async def test_under_traffic_only_questions_of_the_first_moment_wait_and_none_for_half_a_second(
    servers: tuple[Bind, Bind], watch: Stopwatch
) -> None:
    first, second = servers
    names = Resolver(Lookup([first.address, second.address]))
    took: list[Took] = []

    async def ask(number: int) -> None:
        await asyncio.sleep(number / 100)
        took.append(await watch.time(names, fresh()))

    with first.frozen():
        await asyncio.gather(*(ask(number) for number in range(300)))
    waited = [each for each in took if each.own > HEDGE_SECONDS * 0.9]
    slowest = max(took, key=lambda each: each.own)
    print(f"{len(took)} questions in 3 s: {len(waited)} waited, the slowest {slowest}")
    assert slowest.own < SWITCH
    assert len(waited) <= 100 * SWITCH, "none after the switch, not even for a trial"


async def test_a_resolver_whose_host_is_gone_is_passed_over_within_half_a_second(
    servers: tuple[Bind, Bind], watch: Stopwatch
) -> None:
    with bind.running({"mail.test": ZONE}) as gone:
        await answering(gone)
        gone.end()
        names = Resolver(Lookup([gone.address, servers[1].address]))
        await asyncio.sleep(0.1)
        switching, after = await watch.time(names, fresh()), await watch.time(names, fresh())
        print(f"switching {switching}, after {after}")
        assert switching.own < SWITCH
        assert after.own < HEDGE_SECONDS * 0.9


async def test_a_resolver_that_can_look_up_nothing_costs_no_wait(servers: tuple[Bind, Bind], watch: Stopwatch) -> None:
    with bind.running({"mail.test": None}) as broken:
        lookup = Lookup([broken.address])
        await eventually_servfail(lookup)
        both = Lookup([broken.address, servers[1].address])
        assert (await watch.time(Resolver(both), fresh())).own < HEDGE_SECONDS * 0.9
        assert both.standings.order() == [servers[1].address, broken.address]


async def eventually_servfail(lookup: Lookup) -> None:
    """It has started, and says that it cannot say."""
    async with asyncio.timeout(20):
        while True:
            try:
                await lookup.ask("any.mail.test", "MX")
            except DnsTemporary as error:
                if "SERVFAIL" in error.text:
                    return
            await asyncio.sleep(0.1)


async def test_when_both_stand_still_stale_answers_carry_on_and_new_names_wait(servers: tuple[Bind, Bind]) -> None:
    first, second = servers
    names, known = Resolver(Lookup([first.address, second.address])), fresh()
    before = await names.mail_exchangers(known)
    await asyncio.sleep(1.1)  # its TTL
    async with watching() as watch:
        with first.frozen(), second.frozen():
            took = await watch.time(names, known)
            assert await names.mail_exchangers(known) == before
            print(f"a stale answer after {took}")
            assert took.own < STALE_AFTER + SWITCH
            assert names.counters.stale == 2
            with pytest.raises(DnsTemporary):
                await names.mail_exchangers(fresh())
    async with asyncio.timeout(LIFETIME_SECONDS * 3):
        while True:
            with contextlib.suppress(DnsTemporary):
                assert await names.mail_exchangers(fresh())
                break


async def test_probes_know_a_dead_resolver_before_a_mail_does_and_when_it_is_back(
    servers: tuple[Bind, Bind], watch: Stopwatch
) -> None:
    first, second = servers
    lookup = Lookup([first.address, second.address])
    resolvers = Resolvers(lookup.standings, "relay.mail.test")
    running = asyncio.create_task(resolvers.run())

    def states() -> list[DependencyState]:
        return [each.state for each in resolvers.verdicts.values()]

    try:
        await eventually(lambda: states() == [ANSWERS, ANSWERS], "both answer")
        loop = asyncio.get_running_loop()
        with first.frozen():
            began = loop.time()
            await eventually(lambda: states() == [DOWN, ANSWERS], "the frozen one is down")
            print(f"known after {loop.time() - began:.1f} s")
            assert loop.time() - began < 2 * (INTERVAL + FAILURES * (TIMEOUT + HURRY))
            assert (await watch.time(lookup, fresh())).own < HEDGE_SECONDS * 0.9
        await eventually(lambda: states() == [ANSWERS, ANSWERS], "both answer again")
        assert lookup.standings.order() == [first.address, second.address]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
