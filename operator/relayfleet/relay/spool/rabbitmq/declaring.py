"""Bringing the queues into being, and the proof that the broker keeps dead letters.

A queue is looked at first and made only when it is missing: once it exists its arguments are history (the number of members may have
changed since), and a second declaration would fail.

One node's word that a queue is missing is not enough. After a partition a node may have lost sight of a queue that others lead, and a declaration
there fails half-way and *removes the queue's metadata everywhere*, with all its records (seen with RabbitMQ 4.0 after a node was frozen for
longer than the net tick). So a queue is made only when every node says that it does not know it; a node that does not answer might.

At-least-once dead-lettering falls back to at-most-once without a word when something, a policy for example, changes the overflow mode.
A deferred mail could then vanish between two queues. So it is proven, not believed: a queue that holds one record at most, whose dead
letters have no target, must stay full.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from relayfleet.amqp.channel import Channel
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.errors import AmqpError, ConnectionLost, Nacked, NotFound
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.relay.spool.rabbitmq.topology import Queue, Topology

DEADLINE = 10.0
"""Seconds for one question; making a queue with members on slow disks takes its time."""

_PROBES = 25
_PAUSE = 0.02


class DeadLettersDropped(AmqpError):  # noqa: N818
    """The broker would lose records between two queues."""


class MaybeLost(AmqpError):  # noqa: N818
    """A queue is missing on this node, and another node may have it."""


async def declare(
    connection: Connection, queues: list[Queue], others: Callable[[], Awaitable[list[Connection]]]
) -> None:
    """See that all the queues exist. `others` connects to all the other nodes, or raises. Raises AmqpError."""
    missing = [each for each in queues if not await exists(connection, each.name)]
    if not missing:
        return
    try:
        nodes = await others()
    except AmqpError as error:
        raise MaybeLost(
            f"queue {missing[0].name} is missing and may exist on a node that does not answer: {error}"
        ) from error
    try:
        await _make(connection, missing, nodes)
    finally:
        for each in nodes:
            each.lose(ConnectionLost("asked"))


async def _make(connection: Connection, missing: list[Queue], others: list[Connection]) -> None:
    channel = await Channel.open(connection, DEADLINE)
    for queue in missing:
        known = [await exists(each, queue.name) for each in others]
        if any(known):
            if not await exists(connection, queue.name):
                raise MaybeLost(
                    f"the nodes of the broker do not agree that queue {queue.name} exists: is it partitioned?"
                )
            continue  # another relay was faster
        await channel.declare(queue.name, DEADLINE, arguments=queue.arguments)
    await channel.close(DEADLINE)


async def exists(connection: Connection, queue: str) -> bool:
    """Whether this node knows the queue of that name. Raises AmqpError, also when it is known and none of its members answers."""
    channel = await Channel.open(connection, DEADLINE)
    try:
        await channel.declare(queue, DEADLINE, passive=True)
    except NotFound as error:
        if "no queue" not in error.text:  # it is known, but its members are away
            raise
        return False
    await channel.close(DEADLINE)
    return True


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
