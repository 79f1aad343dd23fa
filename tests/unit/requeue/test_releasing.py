"""Parked mail whose destination answers again goes to the ready queue, few at first; all else keeps its place. The broker is a fake one behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.routing.mx import domain_of
from relayfleet.relay.spool.interface import Hosts, SpoolUnavailable
from relayfleet.relay.spool.places import PARK
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.requeue import Releaser, release, visit
from relayfleet.relay.spool.rabbitmq.requeue.plan import Visited
from relayfleet.relay.spool.rabbitmq.requeue.ramp import FIRST
from relayfleet.relay.spool.rabbitmq.topology import Lane, Topology
from relayfleet.relay.spool.record import Recipient, Record, decode, encode
from tests.fakes.waiting import Message, WaitingBroker, waiting_broker
from tests.unit.requeue.test_requeuing import until

TOPOLOGY = Topology("pool", 3)
QUEUE = TOPOLOGY.place(PARK)


def mail(name: str, domain: str = "one.test") -> Message:
    """As it lies there."""
    record = Record(name, "a@sender.test", (Recipient(f"bob@{domain}"),), b"X: y\r\n\r\n")
    return record.key, encode(record)


@dataclass
class Up:
    """Fits Releases: these domains answer again."""

    domains: set[str] = field(default_factory=set)

    def due(self) -> Mapping[Hosts, float]:
        return {(each,): 1.0 for each in self.domains}

    def is_due(self, destination: Hosts) -> bool:
        return destination[0] in self.domains

    def of(self, record: Record) -> Hosts | None:
        return (domain_of(record.recipients[0].address),)


@dataclass
class Relay:
    """One relay at the broker. `ready`: message ids that it moved."""

    broker: WaitingBroker
    up: Up = field(default_factory=Up)
    ready: list[str] = field(default_factory=list)
    failures: int = 0
    works: bool = True
    releaser: Releaser = field(init=False)

    def __post_init__(self) -> None:
        target = Target(Broker((self.broker.address,), tls=False), lambda: ("relay", "secret"))
        self.releaser = Releaser(
            target, TOPOLOGY, lambda body, _: decode(body), self._move, lambda: self.works, lambda: True
        )
        self.releaser.follow(self.up)

    async def _move(self, lane: Lane, body: bytes, message_id: str) -> None:
        assert self.broker.in_hand, "it is let go of before it is stored elsewhere"
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise SpoolUnavailable("no confirm")
        self.ready.append(message_id)


@asynccontextmanager
async def scene(mails: list[Message]) -> AsyncIterator[Relay]:
    async with waiting_broker() as broker:
        broker.queues[QUEUE] = list(mails)
        relay = Relay(broker)
        relay.releaser.start()
        try:
            yield relay
        finally:
            await relay.releaser.stop()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for in a real pool."""
    monkeypatch.setattr(visit, "QUIET", 0.3)
    monkeypatch.setattr(visit, "TICK", 0.02)
    for name in ("PAUSE", "FAULT_PAUSE", "OTHERS_PAUSE", "LOOK"):
        monkeypatch.setattr(release, name, 0.05)


async def test_what_is_up_goes_in_visits_and_all_else_keeps_its_place_as_it_was() -> None:
    meant, others = [mail(f"M{n}") for n in range(50)], [mail(f"N{n}", "two.test") for n in range(50)]
    mixed = [each for pair in zip(meant, others, strict=True) for each in pair]
    async with scene(mixed) as relay:
        await asyncio.sleep(0.2)
        assert not relay.broker.clients, "without any that is up nobody reads"
        relay.up.domains.add("one.test")
        await until(lambda: len(relay.ready) == len(meant))
        await until(lambda: not relay.broker.clients)
        assert sorted(relay.ready) == sorted(name for name, _ in meant)
        assert relay.broker.queues[QUEUE] == others
        assert relay.releaser.released == len(meant)
        assert relay.broker.readers[QUEUE] > 3, "few at first"


async def test_no_more_goes_to_one_that_fails_again() -> None:
    async with scene([mail(f"M{n}") for n in range(200)]) as relay:
        relay.up.domains.add("one.test")
        await until(lambda: len(relay.ready) >= FIRST)
        relay.up.domains.clear()
        await until(lambda: not relay.broker.clients)
        gone = len(relay.ready)
        assert gone < 200
        await asyncio.sleep(0.3)
        assert len(relay.ready) == gone
        assert len(relay.broker.queues[QUEUE]) == 200 - gone


async def test_what_cannot_be_stored_stays_and_a_broken_connection_loses_nothing() -> None:
    mails = [mail(f"M{n}") for n in range(30)]
    async with scene(mails) as relay:
        relay.failures = 2
        relay.up.domains.add("one.test")
        await until(lambda: len(set(relay.ready)) > 5)
        for each in tuple(relay.broker.clients):
            each.cut()
        await until(lambda: set(relay.ready) == {name for name, _ in mails})
        await until(lambda: not relay.broker.clients)
        assert relay.broker.queues[QUEUE] == []


async def test_one_relay_does_it_for_the_pool_and_another_goes_on_when_it_may_not() -> None:
    async with scene([mail(f"M{n}") for n in range(300)]) as relay:
        other = Relay(relay.broker, relay.up)
        other.releaser.start()
        try:
            relay.up.domains.add("one.test")
            await until(lambda: len(relay.broker.names) == 1 and bool(relay.ready or other.ready))
            first, second = (relay, other) if relay.ready else (other, relay)
            assert not second.ready
            first.works = False
            await until(lambda: len({*first.ready, *second.ready}) == 300)
            assert second.ready
        finally:
            await other.releaser.stop()


async def test_a_pool_without_the_queue_has_nothing_to_release() -> None:
    async with scene([]) as relay:
        del relay.broker.queues[QUEUE]
        relay.up.domains.add("one.test")
        await until(lambda: not relay.releaser._ramp.follow(relay.up.due()))
        assert relay.ready == []


async def test_a_queue_that_no_visit_reads_to_its_end_is_left_alone_when_nothing_in_reach_is_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (visit, release):
        monkeypatch.setattr(module, "MOST_IN_HAND", 40)
    others = [mail(f"N{n}", "two.test") for n in range(200)]
    async with scene([*(mail(f"M{n}") for n in range(20)), *others]) as relay:
        relay.up.domains.add("one.test")
        await until(lambda: len(relay.ready) == 20)
        await until(lambda: not relay.releaser._ramp.follow(relay.up.due()))
        await until(lambda: not relay.broker.clients)
        assert relay.broker.queues[QUEUE] == others


async def test_a_visit_that_could_not_go_on_says_nothing_of_what_is_there() -> None:
    async with scene([]) as relay:
        relay.releaser._ramp.follow({("one.test",): 1.0})
        relay.releaser._ramp.begin()
        assert not relay.releaser._has_seen_all(Visited(30, 0, whole=False)), "the name is another relay's"
        assert relay.releaser._has_seen_all(Visited(30, 0, whole=True))
