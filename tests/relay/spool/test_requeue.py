"""Waiting mail that an order means is tried now; all other keeps its place and its time, whatever happens to the relay that looks through it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from relayfleet.protocol.relay_config import DeliveryRule, RuleTerm
from relayfleet.relay.delivery.ruling import DeliveryRules
from relayfleet.relay.spool.interface import Successor
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq.requeue import service
from relayfleet.relay.spool.rabbitmq.topology import Lane
from relayfleet.relay.spool.record import Recipient, Record, new_id
from tests.relay.rabbitmq.cluster import Cluster
from tests.relay.spool.support import bodies, by_key, new_prefix, read_all, ready_queues, spool, until

pytestmark = pytest.mark.broker

RUNG = 600
LADDER = (1, RUNG)


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
                await queue._put_off(queue._sealer.seal(each), each.key, rung, lane)


def _hundreds(records: Sequence[Record]) -> list[Sequence[Record]]:
    return [records[at : at + 100] for at in range(0, len(records), 100)]


def keys(records: Sequence[Record]) -> set[str]:
    """On a busy machine a confirm is late now and then, and leaves a copy."""
    return {each.key for each in records}


def wait_queues(prefix: str, rung: int = RUNG) -> list[str]:
    return [f"{prefix}.v1.wait.{rung}.{lane}" for lane in "ab"]


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
