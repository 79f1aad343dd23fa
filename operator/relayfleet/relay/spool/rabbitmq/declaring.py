"""Bringing the queues into being, and the proof that the broker keeps dead letters.

A queue is looked at first and declared only when it is missing: once it exists its arguments are history (the number of members may have
changed since), and a second declaration would fail.

At-least-once dead-lettering falls back to at-most-once without a word when something, a policy for example, changes the overflow mode.
A deferred mail could then vanish between two queues. So it is proven, not believed: a queue that holds one record at most, whose dead
letters have no target, must stay full.
"""

from __future__ import annotations

import asyncio
import os

from relayfleet.amqp.channel import Channel
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.errors import AmqpError, Nacked, NotFound
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.relay.spool.rabbitmq.topology import Queue, Topology

DEADLINE = 10.0
"""Seconds for one question; making a queue with members on slow disks takes its time."""

_PROBES = 25
_PAUSE = 0.02


class DeadLettersDropped(AmqpError):  # noqa: N818
    """The broker would lose records between two queues."""


async def declare(connection: Connection, queues: list[Queue]) -> None:
    """See that all the queues exist. Raises AmqpError."""
    channel = await Channel.open(connection, DEADLINE)
    for each in queues:
        try:
            await channel.declare(each.name, DEADLINE, passive=True)
        except NotFound:
            channel = await Channel.open(connection, DEADLINE)
            await channel.declare(each.name, DEADLINE, arguments=each.arguments)
    await channel.close(DEADLINE)


async def prove_dead_letters_are_kept(connection: Connection, topology: Topology) -> None:
    """Raises DeadLettersDropped when the broker does not dead-letter at least once, AmqpError when it cannot be asked."""
    queue = topology.probe(os.urandom(6).hex())
    channel = await PublishChannel.open(connection, DEADLINE)
    await channel.declare(queue.name, DEADLINE, arguments=queue.arguments)
    kept = await _stays_full(channel, queue)
    await channel.delete(queue.name, DEADLINE)
    await channel.close(DEADLINE)
    if not kept:
        raise DeadLettersDropped(
            f"the broker does not dead-letter at least once for queues {topology.prefix}.*: "
            "remove the policy that sets overflow, max-length or dead-letter-strategy for them"
        )


async def _stays_full(channel: PublishChannel, queue: Queue) -> bool:
    for _ in range(_PROBES):
        try:
            async with asyncio.timeout(DEADLINE):
                await channel.publish(queue.name, b"", "probe").stored
        except Nacked:
            return True
        except TimeoutError as error:
            raise AmqpError("the broker does not confirm: has it lost its majority?") from error
        await asyncio.sleep(_PAUSE)
    return False
