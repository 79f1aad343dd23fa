"""Several consumers on one channel, against a scripted broker: each has its own prefetch, deliveries and end.

The broker's side is written with an independent codec; the real broker is in tests/relay/spool/test_consumers.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pamqp import body, commands, header
from pamqp import frame as codec

from relayfleet.amqp.consuming import REMEMBERED, ConsumeChannel, Delivery
from relayfleet.amqp.errors import AmqpError, ChannelLost, ConnectionLost, DeadlineExceeded, MalformedFrame
from tests.unit.amqp.test_connection import Broker, broker, open_connection


class Queues:
    """The broker's side of one channel: what was consumed, in order, as (queue, tag, prefetch), and its deliveries."""

    def __init__(self, wire: Broker) -> None:
        self.wire = wire
        self.consumed: list[tuple[str, str, int]] = []
        self.cancelled: list[str] = []
        self.acked: list[tuple[int, bool]] = []
        self._prefetch = 0
        self._tag = 0

    def tag(self, number: int) -> str:
        """The tag of the consumer that was made as number so-and-so."""
        return self.consumed[number][1]

    def deliver(self, consumer: str, content: bytes = b"x") -> int:
        self._tag += 1
        self.wire.send(commands.Basic.Deliver(consumer, self._tag, False, "", "q"), 1)
        frames = header.ContentHeader(0, len(content), commands.Basic.Properties()), body.ContentBody(content)
        self.wire.writer.write(b"".join(codec.marshal(each, 1) for each in frames))
        return self._tag

    def cancel(self, consumer: str) -> None:
        self.wire.send(commands.Basic.Cancel(consumer, True), 1)

    async def read(self) -> None:
        """Read and answer one method."""
        self._take(await self.wire.read(), answers=True)

    async def until(self, kind: type, *, answers: bool = True) -> None:
        """Read and answer until a method of that kind came, which is answered as well unless `answers` is False."""
        while not isinstance(method := await self.wire.read(), kind):
            self._take(method, answers=True)
        self._take(method, answers=answers)

    def _take(self, method: object, *, answers: bool) -> None:
        answer: commands.Basic.QosOk | commands.Basic.ConsumeOk | commands.Basic.CancelOk
        match method:
            case commands.Basic.Qos():
                assert not method.global_
                self._prefetch = method.prefetch_count or 0
                answer = commands.Basic.QosOk()
            case commands.Basic.Consume():
                assert method.consumer_tag
                self.consumed.append((str(method.queue), method.consumer_tag, self._prefetch))
                answer = commands.Basic.ConsumeOk(method.consumer_tag)
            case commands.Basic.Cancel():
                self.cancelled.append(str(method.consumer_tag))
                answer = commands.Basic.CancelOk(method.consumer_tag)
            case commands.Basic.Ack():
                self.acked.append((method.delivery_tag or 0, bool(method.multiple)))
                return
            case _:
                raise AssertionError(method)
        if answers:
            self.wire.send(answer, 1)


@asynccontextmanager
async def channel(script: Callable[[Queues], Awaitable[None]]) -> AsyncIterator[tuple[ConsumeChannel, Queues]]:
    """An open channel and the broker's side of it."""
    sides: list[Queues] = []

    async def serve(wire: Broker) -> None:
        await wire.accept()
        await wire.accept_channel()
        sides.append(Queues(wire))
        await script(sides[0])

    async with broker(serve) as address:
        connection = await open_connection(address)
        yield await ConsumeChannel.open(connection, 5), sides[0]
        connection.lose(ConnectionLost("end of test"))


class Owner:
    """Who consumes a queue: what came, and why it ended."""

    def __init__(self) -> None:
        self.came: list[Delivery] = []
        self.ends: list[AmqpError] = []
        self._news = asyncio.Event()

    def deliver(self, delivery: Delivery) -> None:
        self.came.append(delivery)
        self._news.set()

    def ended(self, error: AmqpError) -> None:
        self.ends.append(error)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()


async def test_each_consumer_gets_its_own_deliveries_and_its_own_prefetch() -> None:
    async def script(queues: Queues) -> None:
        for _ in range(3):
            await queues.until(commands.Basic.Consume)
        for number in (2, 0, 0, 1):
            queues.deliver(queues.tag(number), str(number).encode())

    owners = [Owner() for _ in range(3)]
    async with channel(script) as (subject, queues):
        await asyncio.gather(
            *(subject.consume(f"lane.{n}", 4**n, each.deliver, 5, ended=each.ended) for n, each in enumerate(owners))
        )
        for each, count in zip(owners, (2, 1, 1), strict=True):
            await each.until(lambda each=each, count=count: len(each.came) == count)  # type: ignore[misc]
        assert [(queue, prefetch) for queue, _, prefetch in queues.consumed] == [
            ("lane.0", 1),
            ("lane.1", 4),
            ("lane.2", 16),
        ]
        assert [[each.body for each in owner.came] for owner in owners] == [[b"0", b"0"], [b"1"], [b"2"]]
        assert subject.unacknowledged == 4


async def test_no_acknowledgement_of_one_consumer_covers_what_another_holds() -> None:
    async def script(queues: Queues) -> None:
        for _ in range(2):
            await queues.until(commands.Basic.Consume)
        for number in (0, 1, 0, 0):
            queues.deliver(queues.tag(number))
        for _ in range(3):
            await queues.until(commands.Basic.Ack)
        queues.deliver(queues.tag(0))

    one, two = Owner(), Owner()
    async with channel(script) as (subject, queues):
        await subject.consume("one", 9, one.deliver, 5)
        await subject.consume("two", 9, two.deliver, 5)
        await one.until(lambda: len(one.came) == 3)
        for each in one.came:
            subject.ack(each.tag)
        await one.until(lambda: len(one.came) == 4)
        assert queues.acked == [(1, False), (3, False), (4, False)]
        assert [each.tag for each in two.came] == [2]


async def test_the_broker_ends_one_consumer_and_the_others_go_on() -> None:
    async def script(queues: Queues) -> None:
        for _ in range(2):
            await queues.until(commands.Basic.Consume)
        queues.deliver(queues.tag(0))
        queues.cancel(queues.tag(0))
        queues.deliver(queues.tag(1))
        # The acknowledgement leaves with the end of a turn, so what is consumed in that turn comes before it.
        while not queues.acked or len(queues.consumed) < 3:
            await queues.read()
        queues.deliver(queues.tag(2))

    deleted, other = Owner(), Owner()
    async with channel(script) as (subject, queues):
        ended = await subject.consume("deleted", 1, deleted.deliver, 5, ended=deleted.ended)
        going = await subject.consume("other", 1, other.deliver, 5, ended=other.ended)
        await other.until(lambda: len(other.came) == 1)
        assert len(deleted.ends) == 1
        assert "deleted was deleted or lost its majority" in str(deleted.ends[0])
        assert (ended.error, going.error, other.ends) == (deleted.ends[0], None, [])
        # What it had delivered can be settled, it need not be ended again, and the queue can be consumed again.
        subject.ack(deleted.came[0].tag)
        await ended.cancel(5)
        assert queues.cancelled == []
        await subject.consume("deleted", 1, deleted.deliver, 5, ended=deleted.ended)
        await deleted.until(lambda: len(deleted.came) == 2)
        assert len({tag for _, tag, _ in queues.consumed}) == 3
        assert queues.acked == [(1, False)]


async def test_a_consumer_without_anybody_to_tell_takes_the_channel_with_it() -> None:
    async def script(queues: Queues) -> None:
        await queues.until(commands.Basic.Consume)
        queues.cancel(queues.tag(0))

    owner = Owner()
    async with channel(script) as (subject, _):
        consumer = await subject.consume("q", 1, owner.deliver, 5)
        error = await subject.lost
        assert isinstance(error, ChannelLost)
        assert consumer.error is error
        assert subject.connection.is_open
        with pytest.raises(ChannelLost, match="q was deleted or lost its majority"):
            subject.ack(1)


async def test_what_comes_between_a_cancel_and_its_answer_and_right_after_is_the_owners() -> None:
    async def script(queues: Queues) -> None:
        await queues.until(commands.Basic.Consume)
        await queues.until(commands.Basic.Cancel, answers=False)
        queues.deliver(queues.tag(0), b"between")
        queues.wire.send(commands.Basic.CancelOk(queues.tag(0)), 1)
        queues.deliver(queues.tag(0), b"after")
        await queues.until(commands.Basic.Ack)

    owner = Owner()
    async with channel(script) as (subject, queues):
        consumer = await subject.consume("q", 4, owner.deliver, 5, ended=owner.ended)
        await consumer.cancel(5)
        assert owner.came[0].body == b"between"
        await owner.until(lambda: len(owner.came) == 2)
        for each in owner.came:
            subject.ack(each.tag)
        assert owner.ends == []
        assert queues.cancelled == [consumer.tag]


async def test_a_new_tag_and_the_new_prefetch_for_each_consume() -> None:
    async def script(queues: Queues) -> None:
        for _ in range(3):
            await queues.until(commands.Basic.Consume)
            await queues.until(commands.Basic.Cancel)

    owner = Owner()
    async with channel(script) as (subject, queues):
        for prefetch in (4, 16, 64):
            await (await subject.consume("q", prefetch, owner.deliver, 5)).cancel(5)
        assert [prefetch for _, _, prefetch in queues.consumed] == [4, 16, 64]
        assert queues.cancelled == [tag for _, tag, _ in queues.consumed]
        assert len(set(queues.cancelled)) == 3


async def test_who_begins_again_under_its_tag_stays_known_however_many_others_end() -> None:
    """To a quorum queue it is the same consumer, so what it still holds counts against the new prefetch."""

    async def script(queues: Queues) -> None:
        for _ in range(REMEMBERED + 2):
            await queues.until(commands.Basic.Consume)
            await queues.until(commands.Basic.Cancel)
        await queues.until(commands.Basic.Consume)
        queues.deliver("lane/1")

    again = Owner()
    async with channel(script) as (subject, queues):
        for number in range(REMEMBERED + 2):
            begun = await subject.consume("lane.1", 4 + number, Owner().deliver, 5, tag="lane/1")
            await begun.cancel(5)
        await subject.consume("lane.1", 64, again.deliver, 5, tag="lane/1")
        await again.until(lambda: len(again.came) == 1)
        assert {tag for _, tag, _ in queues.consumed} == {"lane/1"}


async def test_all_who_cancel_wait_for_the_one_answer_and_one_may_leave() -> None:
    answer = asyncio.Event()

    async def script(queues: Queues) -> None:
        await queues.until(commands.Basic.Consume)
        await queues.until(commands.Basic.Cancel, answers=False)
        asked.set()
        await answer.wait()
        queues.wire.send(commands.Basic.CancelOk(queues.tag(0)), 1)
        await queues.until(commands.Basic.Consume)

    asked = asyncio.Event()
    async with channel(script) as (subject, queues):
        consumer = await subject.consume("q", 4, Owner().deliver, 5)
        first, second = asyncio.create_task(consumer.cancel(5)), asyncio.create_task(subject.cancel(5))
        await asked.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not second.done()
        answer.set()
        await second
        await subject.consume("q", 4, Owner().deliver, 5)  # answers are still in step
        assert len(queues.cancelled) == 1


async def test_the_end_of_the_channel_ends_all_its_consumers() -> None:
    async def script(queues: Queues) -> None:
        for _ in range(2):
            await queues.until(commands.Basic.Consume)
        for _ in range(2):
            await queues.until(commands.Basic.Cancel)

    async with channel(script) as (subject, queues):
        for each in "ab":
            await subject.consume(each, 4, Owner().deliver, 5)
        await subject.cancel(5)
        assert queues.cancelled == [queues.tag(0), queues.tag(1)]
        await subject.cancel(5)


async def test_who_leaves_while_a_consumer_begins_leaves_none_behind() -> None:
    async def script(queues: Queues) -> None:
        await queues.until(commands.Basic.Consume, answers=False)
        asked.set()
        await queues.until(commands.Basic.Cancel, answers=False)
        queues.wire.send(commands.Basic.ConsumeOk(queues.tag(0)), 1)
        queues.wire.send(commands.Basic.CancelOk(queues.tag(0)), 1)
        await queues.until(commands.Basic.Consume)

    asked = asyncio.Event()
    async with channel(script) as (subject, queues):
        leaving = asyncio.create_task(subject.consume("q", 4, Owner().deliver, 5))
        await asked.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await subject.consume("q", 4, Owner().deliver, 5)
        assert queues.cancelled == [queues.tag(0)]


async def test_a_cancel_without_an_answer_costs_the_channel() -> None:
    async def script(queues: Queues) -> None:
        await queues.until(commands.Basic.Consume)
        await queues.until(commands.Basic.Cancel, answers=False)

    owner = Owner()
    async with channel(script) as (subject, _):
        consumer = await subject.consume("q", 4, owner.deliver, 5, ended=owner.ended)
        with pytest.raises(DeadlineExceeded):
            await consumer.cancel(0.05)
        assert isinstance(consumer.error, DeadlineExceeded)
        assert owner.ends == []  # whose end this is says `lost`
        with pytest.raises(DeadlineExceeded):
            await consumer.cancel(5)
        with pytest.raises(DeadlineExceeded):
            await subject.consume("q", 4, owner.deliver, 5)


async def test_the_broker_ends_what_is_being_ended() -> None:
    async def script(queues: Queues) -> None:
        await queues.until(commands.Basic.Consume)
        await queues.until(commands.Basic.Cancel, answers=False)
        queues.cancel(queues.tag(0))
        queues.wire.send(commands.Basic.CancelOk(queues.tag(0)), 1)

    owner = Owner()
    async with channel(script) as (subject, _):
        consumer = await subject.consume("q", 4, owner.deliver, 5, ended=owner.ended)
        await consumer.cancel(5)
        assert len(owner.ends) == 1
        assert subject.is_open


@pytest.mark.parametrize("what", ["a delivery", "an end"])
async def test_a_tag_that_was_never_given_costs_the_connection(what: str) -> None:
    async def script(queues: Queues) -> None:
        await queues.until(commands.Basic.Consume)
        if what == "a delivery":
            queues.deliver("relay/99")
        else:
            queues.cancel("relay/99")

    owner = Owner()
    async with channel(script) as (subject, _):
        await subject.consume("q", 4, owner.deliver, 5, ended=owner.ended)
        error = await subject.lost
        assert isinstance(error, MalformedFrame)
        assert "'relay/99'" in str(error)
        assert (owner.came, owner.ends) == ([], [])


async def test_those_that_ended_are_forgotten_in_their_turn() -> None:
    async def script(queues: Queues) -> None:
        for _ in range(3 * REMEMBERED):
            await queues.until(commands.Basic.Cancel)

    async with channel(script) as (subject, _):
        for _ in range(3 * REMEMBERED):
            await (await subject.consume("q", 4, Owner().deliver, 5)).cancel(5)
        assert len(subject._consumers) == len(subject._retired) == REMEMBERED
