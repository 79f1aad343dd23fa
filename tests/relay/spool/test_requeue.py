"""Waiting mail that an order means is tried now; all other keeps its place and its time, whatever happens to the relay that looks through it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from relayfleet.amqp.connection import Connection
from relayfleet.protocol.relay_config import DeliveryRule, RuleTerm
from relayfleet.relay.delivery.ruling import DeliveryRules
from relayfleet.relay.spool.interface import Successor
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq.declaring import declare
from relayfleet.relay.spool.rabbitmq.lane import PublishLane
from relayfleet.relay.spool.rabbitmq.requeue import service
from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane, Topology
from relayfleet.relay.spool.record import Recipient, Record, new_id
from tests.relay.rabbitmq.cluster import Cluster
from tests.relay.spool.support import bodies, by_key, new_prefix, read_all, ready_queues, spool, until

pytestmark = pytest.mark.broker

RUNG = 600
LADDER = (1, RUNG)
LONG = 14400
"""A rung on which the lanes are far apart: copies have queues of their own."""


def again(domain: str = "one.test") -> DeliveryRules:
    """An order for what was put off until half a minute ago."""
    moment = (datetime.now(UTC) - timedelta(seconds=30)).replace(microsecond=0)
    terms = RuleTerm("recipientDomain", domain), RuleTerm("deferredBefore", moment.isoformat())
    return DeliveryRules([DeliveryRule("again", "Requeue", terms)])


def waiting(domain: str, rung: int = RUNG, ago: float = 120.0) -> Record:
    """A mail that was put off so many seconds ago."""
    since = time.time() - ago
    recipients = (Recipient(f"bob@{domain}"),)
    return Record(
        new_id(), "a@example.com", recipients, b"X: y\r\n", attempt=1, next_at=since + rung, deferred_at=since
    )


async def put_off(queue: RabbitMQSpool, records: Sequence[Record], lane: Lane | None = None, rung: int = RUNG) -> None:
    """Into the waiting queues in this order, a few at a time."""
    for some in _hundreds(records):
        if lane is None:
            await asyncio.gather(*(queue._succeed(Successor(each, rung)) for each in some))
        else:
            for each in some:
                await queue._wait(queue._sealer.seal(each), each.key, rung, lane)


def _hundreds(records: Sequence[Record]) -> list[Sequence[Record]]:
    return [records[at : at + 100] for at in range(0, len(records), 100)]


def keys(records: Sequence[Record]) -> set[str]:
    """On a busy machine a confirm is late now and then, and leaves a copy."""
    return {each.key for each in records}


def wait_queues(prefix: str, rung: int = RUNG) -> list[str]:
    return [f"{prefix}.v1.wait.{rung}.{lane}" for lane in "ab"]


async def store_in(queue: RabbitMQSpool, name: str, lane: Lane, record: Record) -> None:
    """Into this very queue, as a late confirm leaves it there."""
    await queue._publisher.store(lambda _: name, queue._sealer.seal(record), record.key, lane)


async def moved(queue: RabbitMQSpool, number: int, seconds: float = 60) -> None:
    requeuer = queue.requeuer
    await until(lambda: sum(requeuer.moved.values()) >= number, seconds, lambda: f"{requeuer.moved} {requeuer.looked}")


async def test_what_is_meant_is_tried_now_once_and_all_else_waits_on(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    meant, others = [waiting("one.test") for _ in range(100)], [waiting("two.test") for _ in range(300)]
    later = [waiting("one.test", ago=0) for _ in range(20)]
    async with spool(rabbitmq, prefix, ladder=LADDER) as queue:
        await put_off(queue, [*others[:150], *meant, *others[150:], *later])
        queue.requeue(again())
        taken = []
        async with asyncio.timeout(60):
            for _ in meant:
                held = await queue.take()
                taken.append(held.record)
                await held.settle()
        assert by_key(taken) == by_key(meant)
    assert keys(await read_all(rabbitmq, ready_queues(prefix))) <= keys(meant), "copies at most"
    left = await read_all(rabbitmq, wait_queues(prefix))
    assert keys(left) == keys([*others, *later])
    assert {each.key: each for each in left} == by_key([*others, *later])


async def test_what_stays_keeps_its_order_also_behind_more_than_is_sent_at_once(rabbitmq: Cluster) -> None:
    """A waiting queue expires only at its head: one record out of order would hold up those behind it."""
    prefix = new_prefix()
    others = [waiting("two.test") for _ in range(1500)]
    meant = [waiting("one.test") for _ in range(3)]
    async with spool(rabbitmq, prefix, ladder=LADDER) as queue:
        await put_off(queue, [*others[:1200], *meant, *others[1200:]], "a")
        queue.requeue(again())
        await moved(queue, len(meant))
    a, b = wait_queues(prefix)
    left = [str(each.message_id) for each in await bodies(rabbitmq, [a])]
    elsewhere = keys(await read_all(rabbitmq, [b]))
    in_order = list(dict.fromkeys(left))
    assert in_order == [each.key for each in others if each.key in in_order]
    assert len(in_order) > len(others) / 2
    assert elsewhere.union(in_order) == keys(others)
    assert keys(await read_all(rabbitmq, ready_queues(prefix))) == keys(meant)


async def test_what_was_in_hand_comes_back_at_its_time(rabbitmq: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    rung = 12
    monkeypatch.setattr("relayfleet.relay.spool.rabbitmq.requeue.plan.SHORTEST_RUNG", rung)
    monkeypatch.setattr(service, "visit_seconds", lambda _: 6.0)
    prefix = new_prefix()
    others = [waiting("two.test", rung) for _ in range(40)]
    async with spool(rabbitmq, prefix, ladder=(1, rung)) as queue:
        began = time.monotonic()
        await put_off(queue, others, rung=rung)
        queue.requeue(again())
        await until(lambda: queue.requeuer.looked > 0, 30)
        taken = []
        async with asyncio.timeout(60):
            for _ in others:
                held = await queue.take()
                taken.append(held.record)
                await held.settle()
        took = time.monotonic() - began
    assert by_key(taken) == by_key(others)
    assert rung <= took < 1.2 * rung + 10, took


async def test_a_relay_that_loses_its_broker_in_the_middle_loses_no_mail(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    meant, others = [waiting("one.test") for _ in range(600)], [waiting("two.test") for _ in range(600)]
    records = [each for pair in zip(meant, others, strict=True) for each in pair]
    async with spool(rabbitmq, prefix, ladder=LADDER) as queue, spool(rabbitmq, prefix, ladder=LADDER) as other:
        await put_off(queue, records)
        queue.requeue(again())
        await moved(queue, 100)
        queue._target.credentials = lambda: ("nobody", "")  # it does not come back
        for lane in queue._publisher.lanes.values():
            lane.link.begin_again("cut by the test")
        lock = queue.requeuer._lock
        assert lock is not None
        assert lock._transport is not None
        lock._transport.abort()
        other.requeue(again())
        await until(lambda: sum((queue.requeuer.moved + other.requeuer.moved).values()) >= len(meant), 90)
        assert other.requeuer.moved, "it has taken over"
    ready = keys(await read_all(rabbitmq, ready_queues(prefix)))
    left = keys(await read_all(rabbitmq, wait_queues(prefix)))
    assert ready <= keys(meant)
    assert left >= keys(others)
    assert ready | left == keys(records)


async def test_one_relay_does_it_for_the_pool_and_another_goes_on_when_it_leaves(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    first, second = [waiting("one.test") for _ in range(50)], [waiting("one.test") for _ in range(50)]
    async with spool(rabbitmq, prefix, ladder=LADDER) as other:
        async with spool(rabbitmq, prefix, ladder=LADDER) as queue:
            await put_off(queue, first)
            queue.requeue(again())
            await moved(queue, len(first))
            await until(lambda: queue.requeuer.looked > 0, 30, lambda: "its visit does not end")
            other.requeue(again())
            await put_off(queue, second)
            assert other.requeuer.looked == 0
        await moved(other, len(second))
    assert keys(await read_all(rabbitmq, ready_queues(prefix))) == keys([*first, *second])


async def test_copies_of_the_longest_waits_are_moved_with_what_they_are_copies_of(rabbitmq: Cluster) -> None:
    """For each lane, with the copy where a relay of now puts it and where one of before does; among mail that is not meant."""
    prefix = new_prefix()
    topology = Topology(prefix, 3, (1, LONG))
    meant = [waiting("one.test", LONG, ago=300 - n) for n in range(40)]
    others = [waiting("two.test", LONG, ago=300 - n) for n in range(40)]
    async with spool(rabbitmq, prefix, ladder=(1, LONG)) as queue:
        await until(lambda: all(each.keeps_copies for each in queue._publisher.lanes.values()), 20)
        for number, (one, two) in enumerate(zip(meant, others, strict=True)):
            own = LANES[number % 2]
            (other,) = (each for each in LANES if each != own)
            where = [
                (own, topology.wait(LONG, own)),
                (other, topology.wait(LONG, other, own if number % 4 < 2 else None)),
            ]
            for lane, name in where:
                await store_in(queue, name, lane, one)
                await store_in(queue, name, lane, two)
        queue.requeue(again())
        await moved(queue, 2 * len(meant))
        await until(lambda: queue.requeuer.looked > 0, 60, lambda: "its visit does not end")
    counts = Counter(each.key for each in await read_all(rabbitmq, ready_queues(prefix)))
    assert set(counts) == keys(meant)
    assert min(counts.values()) >= 2
    for lane in LANES:
        own_queues = [name for name, its in topology.waiting(LONG).items() if its == lane]
        assert keys(await read_all(rabbitmq, own_queues)) == keys(others)


async def test_a_pool_without_queues_for_copies_yet_is_looked_through(
    rabbitmq: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def as_before(lane: PublishLane, connection: Connection) -> None:
        others = partial(lane._target.dial_others, connection, "look")
        await declare(connection, lane._topology.needed(lane.lane), others)

    monkeypatch.setattr(PublishLane, "_declare", as_before)
    prefix = new_prefix()
    meant, others = [waiting("one.test", LONG) for _ in range(30)], [waiting("two.test", LONG) for _ in range(30)]
    async with spool(rabbitmq, prefix, ladder=(1, LONG)) as queue:
        await put_off(queue, [each for pair in zip(meant, others, strict=True) for each in pair], rung=LONG)
        queue.requeue(again())
        await moved(queue, len(meant))
        await until(lambda: queue.requeuer.looked > 0, 60, lambda: "its visit does not end")
    assert keys(await read_all(rabbitmq, ready_queues(prefix))) == keys(meant)
    assert keys(await read_all(rabbitmq, wait_queues(prefix, LONG))) == keys(others)
