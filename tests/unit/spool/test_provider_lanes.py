"""Consumers of provider lanes: which there are, with which prefetch, and when they end. The broker is played; tests/relay/spool has a real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.content import header_payload
from relayfleet.amqp.errors import AmqpError, ChannelLost, ConnectionLost
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.delivery.hands import LANE_HANDS
from relayfleet.relay.spool.places import LANED, LOOK, PARK
from relayfleet.relay.spool.rabbitmq import providerlanes
from relayfleet.relay.spool.rabbitmq.declaring import MaybeLost
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.providerlanes import (
    KEPT,
    PREFETCHES,
    RETRY,
    SEEK,
    UNKNOWN,
    ProviderLanes,
    fitting,
)
from relayfleet.relay.spool.rabbitmq.source import LANED_BYTES, Source
from relayfleet.relay.spool.rabbitmq.topology import Queue, Topology

POOL = Topology("p", 3)
NAMES = {POOL.place(each) for each in LANED}


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.002)


@dataclass(eq=False)
class Consumer:
    """One consumer, as the broker sees it."""

    queue: str
    prefetch: int
    deliver: Callable[[Delivery], None]
    ended: Callable[[AmqpError], None]
    error: AmqpError | None = None
    cancelled: bool = False

    async def cancel(self, timeout: float) -> None:
        self.cancelled = True


@dataclass(eq=False)
class Connection:
    """One connection. `reading`: it is read from."""

    reading: bool = True
    lost: asyncio.Future[AmqpError] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def is_open(self) -> bool:
        return not self.lost.done()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def lose(self, error: AmqpError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)

    async def close(self) -> None:
        self.lose(AmqpError("closed"))


class Channel:
    """A channel that consumes."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.lost = connection, connection.lost
        self.consumers: list[Consumer] = []

    @property
    def is_open(self) -> bool:
        return not self.lost.done()

    @property
    def going(self) -> dict[str, int]:
        return {each.queue: each.prefetch for each in self.consumers if not each.cancelled and each.error is None}

    async def consume(
        self,
        queue: str,
        prefetch: int,
        deliver: Callable[[Delivery], None],
        timeout: float,
        ended: Any = None,
        tag: str = "",
    ) -> Consumer:
        assert queue == POOL.place(int(tag.removeprefix("lane/"))), (tag, queue)
        self.consumers.append(Consumer(queue, prefetch, deliver, ended))
        return self.consumers[-1]

    async def cancel(self, timeout: float) -> None:
        for each in self.consumers:
            each.cancelled = True


class Brokers:
    """`there`: names of the queues that exist. `agree`: all nodes answer, so that queues can be made. `fault`: what happens, once, to who asks for the queue of
    parked mail. `channels`: all that were ever opened, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there, self.agree, self.channels, self.dials = set[str](), True, list[Channel](), 0
        self.fault: Callable[[Any], Awaitable[None]] | None = None

        async def dial(target: Target, address: object, purpose: str) -> Connection:
            self.dials += 1
            return Connection()

        async def declare(connection: object, queues: list[Queue], others: object) -> None:
            if self.fault is not None and POOL.place(PARK) in {each.name for each in queues}:
                fault, self.fault = self.fault, None
                await fault(connection)
            if not self.agree:
                raise MaybeLost("a node does not answer")
            self.there |= {each.name for each in queues}

        async def exists(connection: object, queue: str) -> bool:
            return queue in self.there

        async def opened(connection: Connection, timeout: float) -> Channel:
            self.channels.append(Channel(connection))
            return self.channels[-1]

        monkeypatch.setattr(Target, "dial", dial)
        monkeypatch.setattr(providerlanes, "declare", declare)
        monkeypatch.setattr(providerlanes, "exists", exists)
        monkeypatch.setattr(ConsumeChannel, "open", opened)
        monkeypatch.setattr(providerlanes, "FIT", 0.01)

    @property
    def going(self) -> dict[str, int]:
        """Prefetch by queue of the consumers that there are now."""
        return self.channels[-1].going if self.channels else {}


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    return Brokers(monkeypatch)


@pytest.fixture
async def lanes(brokers: Brokers) -> AsyncIterator[ProviderLanes]:
    came: list[tuple[int, int]] = []

    def deliver(channel: object, delivery: Delivery, source: Source) -> None:
        came.append((source.place, delivery.tag))

    subject = ProviderLanes(Target(Broker(("x:1", "x:2")), lambda: ("", "")), POOL, cast("Any", deliver))
    cast("Any", subject).came = came
    yield subject
    await subject.stop()


async def consuming(brokers: Brokers, names: set[str] = NAMES) -> None:
    await until(lambda: set(brokers.going) == names)


def hand_out(brokers: Brokers, place: int, size: int, times: int = 1) -> None:
    consumer = next(each for each in reversed(brokers.channels[-1].consumers) if each.queue == POOL.place(place))
    for tag in range(times):
        consumer.deliver(Delivery(tag, False, header_payload(size, "k", "1"), bytes(size)))


def test_prefetches_keep_all_lanes_within_their_memory_and_never_above_their_hands() -> None:
    assert max(PREFETCHES) == LANE_HANDS
    assert [fitting(each) for each in (0, 1, 2048, 50 * 1024)] == [UNKNOWN, 128, 128, 128]
    for size in (2 * 1024, 200 * 1024, 1024**2, 5 * 1024**2):
        assert fitting(size) * size * len(LANED) <= LANED_BYTES
    assert fitting(25 * 1024**2) == min(PREFETCHES)


async def test_a_pool_that_uses_lanes_has_all_of_them_and_takes_from_each(
    lanes: ProviderLanes, brokers: Brokers
) -> None:
    assert not lanes.usable
    lanes.use(True)
    lanes.start()
    await consuming(brokers)
    assert (brokers.there, set(lanes.queues), lanes.usable) == (NAMES, NAMES, True)
    assert set(brokers.going.values()) == {UNKNOWN}
    hand_out(brokers, 3, 100)
    assert cast("Any", lanes).came == [(3, 0)]


async def test_no_mail_goes_to_lanes_before_all_of_them_are_made(lanes: ProviderLanes, brokers: Brokers) -> None:
    brokers.agree = False
    lanes.use(True)
    lanes.start()
    await until(lambda: brokers.dials > 2)
    assert (lanes.usable, brokers.going) == (False, {})
    brokers.agree = True
    await consuming(brokers)
    assert lanes.usable


async def test_a_pool_that_uses_none_has_none_and_is_asked_once(lanes: ProviderLanes, brokers: Brokers) -> None:
    lanes.start()
    await until(lambda: brokers.dials == 1)
    await asyncio.sleep(0.05)
    assert (brokers.dials, brokers.channels, brokers.there, lanes.queues) == (1, [], set(), [])
    lanes.use(True)
    await consuming(brokers)


async def test_what_lies_in_lanes_is_taken_where_a_pool_uses_them_no_more(
    lanes: ProviderLanes, brokers: Brokers
) -> None:
    brokers.there = {POOL.place(LOOK), POOL.place(0), POOL.place(9)}
    lanes.start()
    await consuming(brokers, brokers.there)
    assert not lanes.usable
    lanes.use(True)
    await consuming(brokers)
    lanes.use(False)
    await asyncio.sleep(0.05)
    assert (set(brokers.going), lanes.usable) == (NAMES, False)


async def test_a_prefetch_follows_the_size_of_records_and_a_consumer_begins_anew_for_it(
    lanes: ProviderLanes, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes.use(True)
    lanes.start()
    await consuming(brokers)
    hand_out(brokers, 3, 2048)
    await until(lambda: brokers.going[POOL.place(3)] == max(PREFETCHES))
    assert brokers.going[POOL.place(4)] == UNKNOWN
    hand_out(brokers, 3, 4 * 1024**2, times=30)
    await until(lambda: brokers.going[POOL.place(3)] == min(PREFETCHES))
    hand_out(brokers, 3, 100, times=100)
    await asyncio.sleep(0.1)
    assert brokers.going[POOL.place(3)] == min(PREFETCHES), f"it is not raised within {KEPT} s"
    monkeypatch.setattr(providerlanes, "KEPT", 0.0)
    await until(lambda: brokers.going[POOL.place(3)] == max(PREFETCHES))
    mine = [each for each in brokers.channels[-1].consumers if each.queue == POOL.place(3)]
    assert [each.cancelled for each in mine] == [True] * 3 + [False]


async def test_a_relay_that_stands_aside_takes_from_none_until_it_goes_on(
    lanes: ProviderLanes, brokers: Brokers
) -> None:
    lanes.use(True)
    lanes.start()
    await consuming(brokers)
    brokers.channels[-1].connection.pause_reading()
    await lanes.stop_taking()
    assert (brokers.going, brokers.channels[-1].connection.reading) == ({}, True)
    brokers.channels[-1].connection.lose(ChannelLost(0, "cut"))
    await until(lambda: len(brokers.channels) == 2)
    await asyncio.sleep(0.05)
    assert brokers.going == {}, "nor by another connection"
    await lanes.resume_taking()
    await consuming(brokers)


async def test_a_lane_that_somebody_deletes_is_made_anew_and_no_mail_goes_to_lanes_meanwhile(
    lanes: ProviderLanes, brokers: Brokers
) -> None:
    lanes.use(True)
    lanes.start()
    await consuming(brokers)
    brokers.agree = False
    brokers.there.discard(POOL.place(3))
    (ended,) = (each.ended for each in brokers.channels[0].consumers if each.queue == POOL.place(3))
    ended(ChannelLost(404, "deleted"))
    assert (lanes.usable, lanes.queues) == (False, [])
    await asyncio.sleep(0.05)
    assert not lanes.usable
    brokers.agree = True
    await until(lambda: lanes.usable)
    await consuming(brokers)
    assert brokers.there == NAMES


async def test_a_connection_that_is_lost_is_followed_by_one_that_takes_from_all(
    lanes: ProviderLanes, brokers: Brokers
) -> None:
    lanes.use(True)
    lanes.start()
    await consuming(brokers)
    hand_out(brokers, 3, 2048)
    await until(lambda: brokers.going[POOL.place(3)] == max(PREFETCHES))
    brokers.channels[-1].connection.lose(ChannelLost(0, "killed"))
    await until(lambda: len(brokers.channels) == 2)
    await consuming(brokers)
    assert brokers.going[POOL.place(3)] == max(PREFETCHES), "what is known of its records is kept"


async def test_parked_mail_has_a_queue_that_nobody_consumes_and_ends_where_it_is_looked_at(
    lanes: ProviderLanes, brokers: Brokers
) -> None:
    lanes.park(True)
    lanes.start()
    await consuming(brokers, {POOL.place(LOOK)})
    assert (lanes.parks, lanes.usable) == (True, False)
    assert brokers.there == set(lanes.queues) == {POOL.place(LOOK), POOL.place(PARK)}
    lanes.use(True)
    await consuming(brokers)
    assert (lanes.parks, lanes.usable) == (True, True)
    assert brokers.there == set(lanes.queues) == NAMES | {POOL.place(PARK)}
    lanes.park(False)
    assert not lanes.parks


async def test_a_pool_with_lanes_parks_over_the_connection_that_it_has(lanes: ProviderLanes, brokers: Brokers) -> None:
    lanes.use(True)
    lanes.start()
    await consuming(brokers)
    lanes.park(True)
    await until(lambda: lanes.parks)
    assert (len(brokers.channels), lanes.usable) == (1, True)


async def test_where_the_queue_of_parked_mail_cannot_be_made_lanes_go_on(
    lanes: ProviderLanes, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providerlanes, "RETRY", 0.05)
    brokers.there = set(NAMES)
    brokers.agree = False
    lanes.park(True)
    lanes.start()
    await consuming(brokers)
    assert not lanes.parks
    brokers.agree = True
    await until(lambda: lanes.parks)


async def test_a_queue_of_parked_mail_that_somebody_deletes_is_made_again(
    lanes: ProviderLanes, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providerlanes, "RETRY", 0.05)
    lanes.park(True)
    lanes.start()
    await until(lambda: lanes.parks)
    brokers.there.discard(POOL.place(PARK))
    lanes.doubt_parking()  # a move was not confirmed
    assert not lanes.parks
    await until(lambda: lanes.parks)
    assert POOL.place(PARK) in brokers.there


async def test_parked_mail_is_counted_until_its_queue_is_gone_and_not_only_while_mail_is_parked(
    lanes: ProviderLanes, brokers: Brokers
) -> None:
    parked = POOL.place(PARK)
    lanes.park(True)
    lanes.start()
    await until(lambda: lanes.parks)
    lanes.doubt_parking()
    assert parked in lanes.queues
    lanes.park(False)
    brokers.channels[-1].connection.lose(ChannelLost(0, "killed"))
    assert parked in lanes.queues
    await until(lambda: len(brokers.channels) == 2)
    await consuming(brokers, {POOL.place(LOOK)})
    assert parked in lanes.queues
    lanes.is_gone(POOL.place(LOOK))
    assert parked in lanes.queues
    lanes.is_gone(parked)
    assert parked not in lanes.queues


async def test_what_an_earlier_life_of_the_pool_has_parked_is_counted(lanes: ProviderLanes, brokers: Brokers) -> None:
    brokers.there = {POOL.place(LOOK), POOL.place(PARK)}
    lanes.start()
    await consuming(brokers, {POOL.place(LOOK)})
    assert set(lanes.queues) == brokers.there
    assert not lanes.parks


async def test_a_queue_of_parked_mail_that_is_said_to_be_gone_is_made_again(
    lanes: ProviderLanes, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providerlanes, "RETRY", 0.05)
    lanes.park(True)
    lanes.start()
    await until(lambda: lanes.parks)
    brokers.there.discard(POOL.place(PARK))
    lanes.is_gone(POOL.place(PARK))
    assert not lanes.parks
    await until(lambda: lanes.parks)
    assert POOL.place(PARK) in brokers.there & set(lanes.queues)


async def test_parking_outlives_credentials_that_cannot_be_read_and_a_connection_that_is_lost_by_a_restart(
    lanes: ProviderLanes, brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providerlanes, "RETRY", 0.05)

    async def unreadable(connection: Connection) -> None:
        raise PermissionError("ca.crt")

    async def restarts(connection: Connection) -> None:
        connection.lose(ConnectionLost("320 CONNECTION_FORCED"))
        raise ConnectionLost("320 CONNECTION_FORCED")

    lanes.use(True)
    lanes.start()
    await consuming(brokers)
    for fault in (unreadable, restarts):
        lanes.park(False)
        lanes.doubt_parking()
        brokers.fault = fault
        lanes.park(True)
        await until(lambda: brokers.fault is None)
        assert not lanes.parks
        await until(lambda: lanes.parks)


async def test_a_broker_that_answers_by_closing_the_connection_is_asked_more_and_more_seldom(
    lanes: ProviderLanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Connection()
    connection.lose(ConnectionLost("541 INTERNAL_ERROR"))
    pauses = []
    for _ in range(30):
        lanes._put_off_parking(cast("Any", connection), "541")
        pauses.append(lanes._parks_at - time.monotonic())
    assert pauses[:3] == pytest.approx([RETRY, 2 * RETRY, 4 * RETRY], abs=1.0)
    assert pauses[-1] == pytest.approx(SEEK, abs=1.0)
    lanes._put_off_parking(cast("Any", Connection()), "a node does not answer")
    assert lanes._parks_at - time.monotonic() == pytest.approx(RETRY, abs=1.0)


async def test_a_relay_stands_aside_at_once_while_a_broker_thinks_about_the_queue_of_parked_mail(
    lanes: ProviderLanes, brokers: Brokers
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def thinks(connection: Connection) -> None:
        asked.set()
        await answered.wait()

    lanes.use(True)
    lanes.start()
    await consuming(brokers)
    brokers.fault = thinks
    lanes.park(True)
    await asked.wait()
    async with asyncio.timeout(5):
        await lanes.stop_taking()
    assert brokers.going == {}
    answered.set()
    await until(lambda: lanes.parks)
