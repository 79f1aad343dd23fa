"""The estimate of what waits in the pool's queues, and when it is too much."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from relayfleet.amqp.dial import Address, Login, connect
from relayfleet.relay.spool.rabbitmq.lane import PublishLane
from relayfleet.relay.spool.rabbitmq.quota import Census, Watermark
from relayfleet.relay.spool.rabbitmq.topology import Lane
from tests.fakes.waiting import WaitingBroker, waiting_broker


def test_the_estimate_is_records_times_their_mean_size() -> None:
    mark = Watermark(10_000)
    for _ in range(500):
        mark.saw(100)
    mark.counted({"ready": 30, "wait": 20})
    assert mark.estimate == 5_000
    assert not mark.full


def test_what_was_stored_since_the_last_count_is_in_it() -> None:
    mark = Watermark(1_000)
    for _ in range(10):
        assert not mark.full
        mark.stored(100)
    assert mark.full


def test_a_count_replaces_what_was_stored_since() -> None:
    mark = Watermark(1_000)
    for _ in range(10):
        mark.stored(100)
    mark.counted({"ready": 1})
    assert mark.estimate == 100
    assert not mark.full


def test_a_queue_that_could_not_be_asked_keeps_its_last_count() -> None:
    mark = Watermark(1_000)
    mark.saw(100)
    mark.counted({"ready": 5, "wait": 5})
    mark.counted({"ready": 0})
    assert mark.estimate == 500


def test_full_does_not_flicker_around_the_quota() -> None:
    mark = Watermark(1_000)
    mark.saw(10)
    states = []
    for count in (99, 100, 99, 96, 94, 99, 100):
        mark.counted({"ready": count})
        states.append(mark.full)
    assert states == [False, True, True, True, False, False, True]


def test_the_mean_follows_the_sizes_that_pass() -> None:
    mark = Watermark(1)
    mark.saw(100)
    assert mark.mean_size == 100
    for _ in range(1_000):
        mark.saw(5_000)
    assert 4_900 < mark.mean_size <= 5_000


def test_another_quota_counts_at_once() -> None:
    mark = Watermark(1_000)
    mark.stored(1_000)
    mark.limit(2_000)
    assert not mark.full
    mark.limit(500)
    assert mark.full


@asynccontextmanager
async def lanes_of(broker: WaitingBroker) -> AsyncIterator[dict[Lane, PublishLane]]:
    """Two publishing lanes at a broker, as much of them as is asked, with a ready queue each."""
    connection = await connect(Address.parse(broker.address), Login("relay", "secret"), 5)
    link = SimpleNamespace(connection=connection)
    try:
        yield cast("Any", {each: SimpleNamespace(link=link, is_up=True, queues=[each]) for each in ("a", "b")})
    finally:
        await connection.close()


async def test_what_was_in_a_queue_that_is_gone_counts_no_more_and_others_are_counted_again() -> None:
    mark, more, gone = Watermark(1_000), ["lane", "park", "look"], list[str]()
    mark.counted({"b": 1, "park": 100_000, "lane": 1})

    async with waiting_broker() as broker, lanes_of(broker) as lanes:
        broker.queues |= {each: [("k", b"")] * 2 for each in ("a", "b", "lane", "look")}
        census = Census(mark, lanes, lambda lane: more if lane == "b" else (), gone.append)
        mark.counted(dict(await census._count("b")))
        assert gone == ["park"]
        assert mark.counts == {"b": 2, "lane": 2}
        more.remove("park")
        mark.counted(dict(await census._count("b")))
        assert mark.counts == {"b": 2, "lane": 2, "look": 2}
        assert gone == ["park"]
