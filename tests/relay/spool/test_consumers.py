"""Several consumers on one channel of a real broker: each has its own prefetch and end, and cancelling loses and doubles nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relayfleet.amqp.channel import Channel
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.dial import Address, Login, connect, tls_context
from relayfleet.amqp.errors import AmqpError, NotFound
from relayfleet.amqp.publishing import PublishChannel
from tests.relay.rabbitmq.cluster import PASSWORD, SERVER_NAME, USERNAME, Cluster
from tests.relay.spool.support import new_prefix, until

pytestmark = pytest.mark.broker

QUORUM = {"x-queue-type": "quorum", "x-quorum-initial-group-size": 3}
DEADLINE = 10.0


class Lane:
    """A queue's consumer: what came and is not settled, how often each body came, and why it ended."""

    def __init__(self, channel: ConsumeChannel, queue: str) -> None:
        self.channel, self.queue = channel, queue
        self.held: list[Delivery] = []
        self.seen: Counter[bytes] = Counter()
        self.ends: list[AmqpError] = []
        self.settles = False

    def deliver(self, delivery: Delivery) -> None:
        self.seen[delivery.body] += 1
        self.held.append(delivery)
        if self.settles:
            self.settle()

    def settle(self) -> None:
        held, self.held = self.held, []
        for each in held:
            self.channel.ack(each.tag)


@asynccontextmanager
async def connection(cluster: Cluster) -> AsyncIterator[Connection]:
    opened = await connect(
        Address.parse(cluster.addresses[0]),
        Login(USERNAME, PASSWORD),
        5,
        tls=tls_context(cluster.ca_file),
        server_name=SERVER_NAME,
    )
    try:
        yield opened
    finally:
        await opened.close()


async def filled(opened: Connection, queue: str, messages: int) -> set[bytes]:
    """A new queue with so many messages in it; their bodies."""
    await (await Channel.open(opened, DEADLINE)).declare(queue, DEADLINE, arguments=QUORUM)
    writer = await PublishChannel.open(opened, DEADLINE)
    bodies = {f"{queue} {number}".encode() for number in range(messages)}
    await asyncio.gather(*(writer.publish(queue, each, "raw").stored for each in bodies))
    return bodies


async def test_each_consumer_of_a_channel_has_its_own_prefetch_and_a_full_one_holds_up_no_other(
    rabbitmq: Cluster,
) -> None:
    prefix = new_prefix()
    async with connection(rabbitmq) as opened:
        bodies = [await filled(opened, f"{prefix}.{number}", 100) for number in range(3)]
        channel = await ConsumeChannel.open(opened, DEADLINE)
        lanes = [Lane(channel, f"{prefix}.{number}") for number in range(3)]
        lanes[2].settles = True
        await asyncio.gather(
            *(
                channel.consume(each.queue, prefetch, each.deliver, DEADLINE, ended=each.ends.append)
                for each, prefetch in zip(lanes, (4, 16, 16), strict=True)
            )
        )
        # The last one has been through its whole queue by the time that the others would have got more than they may.
        await until(
            lambda: [len(each.seen) for each in lanes] == [4, 16, 100],
            20,
            lambda: str([len(each.seen) for each in lanes]),
        )
        assert channel.unacknowledged == 20
        for each in lanes:
            each.settles = True
            each.settle()
        await until(lambda: all(len(each.seen) == 100 for each in lanes), 20)
        assert [set(each.seen) for each in lanes] == bodies
        assert [each.ends for each in lanes] == [[], [], []]
        await rabbitmq.emptied(prefix)


async def test_cancelling_and_consuming_again_under_load_loses_nothing_and_doubles_nothing(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with connection(rabbitmq) as opened, connection(rabbitmq) as other:
        bodies = await filled(opened, f"{prefix}.0", 3000)
        channel = await ConsumeChannel.open(other, DEADLINE)
        lane = Lane(channel, f"{prefix}.0")
        for turn in range(100):
            consumer = await channel.consume(lane.queue, (4, 16, 64)[turn % 3], lane.deliver, DEADLINE)
            if turn % 2:
                lane.settle()  # so what came before the cancel is settled after it, on every other turn
            await consumer.cancel(DEADLINE)
        lane.settles = True
        lane.settle()
        await channel.consume(lane.queue, 64, lane.deliver, DEADLINE)
        await until(lambda: len(lane.seen) == len(bodies), 60, lambda: f"{len(lane.seen)} of {len(bodies)}")
        await rabbitmq.emptied(prefix)
    assert lane.seen == Counter(bodies)


async def test_a_queue_that_is_deleted_ends_its_own_consumer_and_no_other(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with connection(rabbitmq) as opened, connection(rabbitmq) as other:
        bodies = [await filled(opened, f"{prefix}.{number}", 50) for number in range(2)]
        channel = await ConsumeChannel.open(other, DEADLINE)
        deleted, going = (Lane(channel, f"{prefix}.{number}") for number in range(2))
        ended = await channel.consume(deleted.queue, 10, deleted.deliver, DEADLINE, ended=deleted.ends.append)
        await channel.consume(going.queue, 10, going.deliver, DEADLINE, ended=going.ends.append)
        await until(lambda: len(deleted.seen) == len(going.seen) == 10, 20)
        await (await Channel.open(opened, DEADLINE)).delete(deleted.queue, DEADLINE)
        await until(lambda: ended.error is not None, 20)
        assert len(deleted.ends) == 1
        # What it held is nobody's any more, and to settle it does no harm.
        deleted.settle()
        going.settles = True
        going.settle()
        await until(lambda: set(going.seen) == bodies[1], 20)
        assert (going.ends, channel.is_open) == ([], True)
        # Made again, it is consumed again on the same channel.
        again = await filled(opened, deleted.queue, 5)
        deleted.seen.clear()
        await channel.consume(deleted.queue, 10, deleted.deliver, DEADLINE, ended=deleted.ends.append)
        await until(lambda: set(deleted.seen) == again, 20)
        deleted.settle()
        with pytest.raises(NotFound):
            await channel.consume(f"{prefix}.none", 1, deleted.deliver, DEADLINE, ended=deleted.ends.append)
