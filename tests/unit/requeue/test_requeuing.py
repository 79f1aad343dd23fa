"""Waiting mail that an order means goes to the ready queue; all other keeps its place. The broker is a fake one behind a real socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from relayfleet.amqp.consuming import ConsumeChannel
from relayfleet.protocol.relay_config import Broker, DeliveryRule, RuleTerm
from relayfleet.relay.delivery.ruling import DeliveryRules
from relayfleet.relay.spool.interface import SpoolUnavailable
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.requeue import Requeuer, service, visit
from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane, Topology
from relayfleet.relay.spool.record import Recipient, Record, decode, encode
from tests.fakes.waiting import WaitingBroker, waiting_broker

RUNG = 3600
TOPOLOGY = Topology("pool", 3, (60, RUNG))
A, B = (TOPOLOGY.wait(RUNG, lane) for lane in LANES)
LONG = 14400
APART = Topology("pool", 3, (60, LONG))
FOUR = tuple(APART.waiting(LONG))
LONG_A, COPY_IN_A, COPY_IN_B, LONG_B = FOUR
NOW = time.time()
DEAD = "127.0.0.1:1"
"""Nobody listens there."""


def rule(action: str = "Requeue", name: str = "again", deferred: float = -1.0, **terms: str) -> DeliveryRule:
    """`deferred`: seconds from now, of a Requeue."""
    if action == "Requeue":
        terms["deferredBefore"] = datetime.fromtimestamp(int(NOW + deferred), UTC).isoformat()
    return DeliveryRule(name, action, tuple(RuleTerm(what, value) for what, value in terms.items()))


AGAIN = rule(recipientDomain="one.test")


def mail(name: str, domain: str = "one.test", waits: float = 600.0, **changes: float) -> tuple[str, bytes]:
    """As it lies in a queue: put off for the second time so many seconds ago."""
    record = Record(name, "a@sender.test", (Recipient(f"bob@{domain}"),), b"X: y\r\n\r\n", attempt=2)
    times = {"deferred_at": NOW - waits, "next_at": NOW - waits + RUNG} | changes
    record = replace(record, **times)  # type: ignore[arg-type]
    return record.key, encode(record)


@dataclass
class Scene:
    """One relay at the broker. `ready`: what it moved, as (lane, message id, body)."""

    broker: WaitingBroker
    topology: Topology = TOPOLOGY
    nodes: int = 1
    dead: int = -1
    requeuer: Requeuer = field(init=False)
    ready: list[tuple[Lane, str, bytes]] = field(default_factory=list)
    failures: int = 0
    works: bool = True
    room: bool = True

    def __post_init__(self) -> None:
        addresses = tuple(DEAD if each == self.dead else self.broker.address for each in range(self.nodes))
        target = Target(Broker(addresses, tls=False), lambda: ("relay", "secret"))
        self.requeuer = Requeuer(
            target, self.topology, lambda body, _: decode(body), self._move, lambda: self.works, lambda: self.room
        )

    async def _move(self, lane: Lane, body: bytes, message_id: str) -> None:
        assert self.broker.in_hand, "it is let go of before it is stored elsewhere"
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise SpoolUnavailable("no confirm")
        self.ready.append((lane, message_id, body))

    @property
    def moved(self) -> list[str]:
        return sorted(name for _, name, _ in self.ready)

    async def visited(self, times: int = 1) -> None:
        """Wait until the rung was visited so often, and what was in hand is back."""
        await until(lambda: self.broker.readers.get(B, 0) >= times)
        await until(lambda: not self.broker.in_hand and len(self.broker.clients) <= 1)


@asynccontextmanager
async def scene(a: list[tuple[str, bytes]], b: list[tuple[str, bytes]] | None = None) -> AsyncIterator[Scene]:
    async with waiting_broker() as broker:
        broker.queues |= {A: list(a), B: list(b or [])}
        made = Scene(broker)
        made.requeuer.start()
        try:
            yield made
        finally:
            await made.requeuer.stop()


@asynccontextmanager
async def long_waits(
    queues: dict[str, list[tuple[str, bytes]]], nodes: int = 1, dead: int = -1
) -> AsyncIterator[Scene]:
    """A rung whose lanes are far apart; of its queues there are these. `dead`: the node that cannot be reached."""
    async with waiting_broker() as broker:
        broker.queues |= queues
        made = Scene(broker, APART, nodes, dead)
        made.requeuer.start()
        try:
            yield made
        finally:
            await made.requeuer.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what others do has no event
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for in a real pool."""
    monkeypatch.setattr(visit, "QUIET", 0.3)
    monkeypatch.setattr(visit, "TICK", 0.02)
    monkeypatch.setattr(service, "FAULT_PAUSE", 0.05)
    monkeypatch.setattr(service, "OTHERS_PAUSE", 0.1)
    monkeypatch.setattr(service, "LOOK", 0.02)
    monkeypatch.setattr("relayfleet.relay.spool.rabbitmq.requeue.plan.AT_ONCE", 0.05)


async def test_what_is_meant_is_moved_as_it_is_and_all_else_keeps_its_place() -> None:
    meant, others = [mail(f"M{n}") for n in range(50)], [mail(f"N{n}", "two.test") for n in range(50)]
    mixed = [each for pair in zip(meant, others, strict=True) for each in pair]
    async with scene(mixed[:60], mixed[60:]) as relay:
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await relay.visited()
        assert {(name, body) for _, name, body in relay.ready} == set(meant)
        assert len(relay.ready) == 50
        assert relay.broker.ids(A) == [name for name, _ in mixed[:60] if name[0] == "N"]
        assert relay.broker.ids(B) == [name for name, _ in mixed[60:] if name[0] == "N"]
        assert (relay.requeuer.looked, relay.requeuer.moved) == (100, {"again": 50})
        assert {lane for lane, *_ in relay.ready} == {"a", "b"}


async def test_who_may_not_be_tried_yet_is_held_or_was_put_off_later_stays() -> None:
    stays = [
        mail("UNCERTAIN", earliest_at=NOW + 86_400),
        mail("OLD-RELAYS", waits=0, deferred_at=0.0, next_at=NOW + RUNG - 300),
        mail("LATER", waits=-60.0),
        mail("NOT-MEANT", "two.test"),
    ]
    async with scene([mail("GOES"), *stays], [mail("HELD", "held.test")]) as relay:
        both = (AGAIN, rule(name="b", recipientDomain="held.test"), rule("Hold", "h", recipientDomain="held.test"))
        relay.requeuer.follow(DeliveryRules(both))
        await relay.visited()
        assert relay.moved == ["GOES.2"]
        assert (relay.broker.ids(A), relay.broker.ids(B)) == ([name for name, _ in stays], ["HELD.2"])


async def test_what_cannot_be_opened_stays() -> None:
    async with scene([("x", b"RFR1 but then nonsense"), mail("M")]) as relay:
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await relay.visited()
        assert (relay.moved, relay.broker.ids(A)) == (["M.2"], ["x"])


async def test_without_an_order_and_before_its_moment_no_queue_is_read() -> None:
    async with scene([mail("M")]) as relay:
        relay.requeuer.follow(DeliveryRules([rule("Hold", recipientDomain="one.test")]))
        relay.requeuer.follow(DeliveryRules([rule(deferred=600.0, recipientDomain="one.test")]))
        relay.requeuer.follow(DeliveryRules([rule(deferred=-86_400.0, recipientDomain="one.test")]))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not relay.broker.clients
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await relay.visited()
        assert relay.moved == ["M.2"]


async def test_what_cannot_be_stored_stays_and_is_moved_later(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with scene([mail(f"M{n}") for n in range(5)]) as relay:
        relay.failures = 1
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await until(lambda: not relay.failures and len(set(relay.moved)) == 5)
        await relay.visited(2)
        assert relay.broker.ids(A) == []
        assert "is not requeued now: no confirm" in caplog.text
        assert "M4.2 is requeued by rule again" in caplog.text


async def test_a_broken_connection_loses_nothing_and_another_visit_follows() -> None:
    async with scene([mail(f"N{n}", "two.test") for n in range(9)] + [mail("M")]) as relay:
        relay.broker.frozen.add(B)
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await until(lambda: relay.broker.in_hand == 10)
        for each in [each for each in relay.broker.clients if each.open]:
            each.cut()
        await relay.visited(2)
        await until(lambda: relay.moved == ["M.2"])
        await until(lambda: relay.broker.ids(A) == [f"N{n}.2" for n in range(9)])


async def test_one_relay_reads_and_the_next_takes_over_when_it_is_gone() -> None:
    async with scene([mail("M1")]) as first:
        first.requeuer.follow(DeliveryRules([AGAIN]))
        await first.visited()
        second = Scene(first.broker)
        second.requeuer.start()
        first.broker.queues[A].append(mail("M2"))
        second.requeuer.follow(DeliveryRules([AGAIN]))
        try:
            for _ in range(3):  # it asks for the name, and is refused
                await until(lambda: len(first.broker.clients) == 2)
                await until(lambda: len(first.broker.clients) == 1)
            assert (first.broker.readers[A], second.moved) == (1, [])
            await first.requeuer.stop()
            await until(lambda: second.moved == ["M2.2"])
        finally:
            await second.requeuer.stop()


async def test_a_queue_that_somebody_reads_is_left_alone() -> None:
    async with scene([mail("M")]) as relay:
        other = Scene(relay.broker)
        other.requeuer.follow(DeliveryRules([AGAIN]))
        connection = await other.requeuer._dial(0, "a reader")
        reads = await ConsumeChannel.open(connection, 5)
        await reads.consume(B, 1, lambda _: None, 5)
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await until(lambda: relay.broker.readers.get(A, 0) >= 2)
        assert (relay.broker.readers[B], relay.moved) == (1, [])
        await connection.close()
        await until(lambda: relay.moved == ["M.2"])


async def test_a_relay_that_stands_aside_leaves_it_to_others_and_no_room_puts_it_off() -> None:
    async with scene([mail("M")]) as relay:
        relay.works = False
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not relay.broker.clients
        relay.works, relay.room = True, False
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not relay.broker.readers
        relay.room = True
        await relay.visited()
        assert relay.moved == ["M.2"]
        relay.works = False
        await until(lambda: not relay.broker.clients)


async def test_more_than_can_be_in_hand_ends_a_visit_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "MOST_IN_HAND", 20)
    others = [mail(f"N{n}", "two.test") for n in range(30)]
    async with scene([mail("M"), *others]) as relay:
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await relay.visited()
        assert relay.broker.ids(A)[-30:] == [name for name, _ in others]


async def test_what_lies_behind_much_other_mail_is_found_and_the_broker_sends_little_at_a_time() -> None:
    others = [mail(f"N{n}", "two.test") for n in range(1000)]
    async with scene([*others, mail("M")], [mail("M")]) as relay:
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await relay.visited()
        assert relay.moved == ["M.2", "M.2"], "a copy in the other lane is moved as well"
        assert relay.broker.ids(A) == [name for name, _ in others]
        assert relay.broker.readers[A] > 1


async def test_new_orders_end_a_visit_and_begin_another() -> None:
    async with scene([mail("M"), mail("N", "two.test")]) as relay:
        relay.broker.frozen.add(B)
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await until(lambda: relay.broker.in_hand == 2)
        relay.requeuer.follow(DeliveryRules([AGAIN, rule(name="b", recipientDomain="two.test")]))
        relay.broker.frozen.clear()
        await until(lambda: relay.moved == ["M.2", "N.2"])
        assert relay.requeuer.moved == {"again": 1, "b": 1}


async def test_copies_of_the_longest_waits_are_moved_with_what_they_are_copies_of_each_in_its_lane() -> None:
    """Meant for `a` with a copy in `b`, the other way round, one by an older relay, which knows two queues; and mail that is not meant."""
    others = [mail(f"N{n}", "two.test", 600 - n) for n in range(4)]
    queues = {
        LONG_A: [mail("FOR-A", waits=700), others[0], mail("OLD", waits=500)],
        COPY_IN_A: [mail("FOR-B", waits=650), others[1]],
        COPY_IN_B: [mail("FOR-A", waits=700), others[2]],
        LONG_B: [mail("FOR-B", waits=650), others[3], mail("OLD", waits=500)],
    }
    async with long_waits(queues) as relay:
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await until(lambda: len(relay.ready) == 6 and not relay.broker.in_hand)
        expected = [
            ("FOR-A.2", "a"),
            ("FOR-A.2", "b"),
            ("FOR-B.2", "a"),
            ("FOR-B.2", "b"),
            ("OLD.2", "a"),
            ("OLD.2", "b"),
        ]
        assert sorted((name, lane) for lane, name, _ in relay.ready) == expected
        assert [relay.broker.ids(each) for each in FOUR] == [[name] for name, _ in others]


async def test_no_record_is_moved_while_a_queue_that_may_have_its_copy_was_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visit, "QUIET", 60.0)
    copied = {each: [mail("M")] for each in FOUR}
    async with long_waits(copied | {COPY_IN_B: []}) as relay:
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await until(lambda: relay.broker.in_hand == 3)
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert relay.moved == []


async def test_queues_for_copies_that_do_not_exist_yet_are_empty() -> None:
    async with long_waits({LONG_A: [mail("M"), mail("N", "two.test")], LONG_B: [mail("M")]}) as relay:
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await until(lambda: len(relay.ready) == 2 and not relay.broker.in_hand)
        assert relay.moved == ["M.2", "M.2"]
        assert relay.broker.ids(LONG_A) == ["N.2"]


@pytest.mark.parametrize(("nodes", "dead"), [(3, 0), (3, 1), (3, 2), (2, 0), (2, 1)])
async def test_while_a_node_is_away_its_queues_are_read_over_the_others(nodes: int, dead: int) -> None:
    """Copies of which one was moved wait for the other to be moved, too, and a node may be away for hours."""
    async with long_waits({each: [mail("M")] for each in FOUR}, nodes, dead) as relay:
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await until(lambda: len(relay.ready) == 4)


async def test_a_queue_that_one_node_has_lost_sight_of_is_not_taken_for_empty(caplog: pytest.LogCaptureFixture) -> None:
    async with long_waits({LONG_A: [mail("M")], COPY_IN_A: [], COPY_IN_B: [mail("M")], LONG_B: []}) as relay:
        relay.broker.unseen[COPY_IN_B] = 1
        relay.requeuer.follow(DeliveryRules([AGAIN]))
        await until(lambda: len(relay.ready) == 2)
        assert {lane for lane, *_ in relay.ready} == {"a", "b"}
        assert relay.broker.readers[LONG_A] == 2, "the first visit was given up"
        assert "no queue" in caplog.text


async def test_copies_are_judged_by_one_clock_and_one_set_of_orders_however_long_a_visit_takes() -> None:
    """Of two copies of which one is read a moment later than the other, none may be left behind."""

    class Watching(DeliveryRules):
        def requeued_by(self, record: Record, deferred: float, now: float) -> str:
            asked.append(now)
            return super().requeued_by(record, deferred, now)

    asked: list[float] = []
    records = [mail(f"M{n}", waits=600 - n) for n in range(20)]
    async with scene(records, records) as relay:
        relay.requeuer.follow(Watching([AGAIN]))
        await relay.visited()
        assert (len(asked), len(set(asked)), len(relay.moved)) == (40, 1, 40)
