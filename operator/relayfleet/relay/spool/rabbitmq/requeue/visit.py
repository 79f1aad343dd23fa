"""One visit to a rung, or to parked mail: all its queues are read from the head, what is meant is moved to the ready queue, all else goes back to its place.

What is read and not moved stays in our hands, unacknowledged, until the visit ends; then the broker puts it back where it was, in its
order, and with the time at which it expires: nothing else is written anew, and a relay that dies in the middle loses nothing and delays nobody.
For that there must be one reader alone, and the visit must end by closing the connections: several readers, or a bundle of negative
acknowledgements, would bring records back out of order, and a queue expires only at its head.

A quorum queue sends at once as many records as the prefetch allows, and they wait in the broker's memory. So that is raised step by step, as
records stay in our hands: the same consumer is ended and begun again with a larger one, and keeps what it has.

What is moved is stored in the ready queue as it is, under its own name, and let go of when that is confirmed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.errors import AmqpError, NotFound
from relayfleet.relay.spool.interface import SpoolError
from relayfleet.relay.spool.rabbitmq.declaring import exists
from relayfleet.relay.spool.rabbitmq.requeue.lockstep import Found, Lockstep
from relayfleet.relay.spool.rabbitmq.requeue.pace import Pace
from relayfleet.relay.spool.rabbitmq.requeue.plan import Visited
from relayfleet.relay.spool.rabbitmq.topology import Lane
from relayfleet.relay.spool.record import Record, RecordError
from relayfleet.relay.spool.sealer import KeyMissingError

DEADLINE = 5.0
MOST_IN_HAND = 60_000
"""Records of one queue that are in our hands at a time; AMQP counts up to 65,535."""
FEWEST_MORE, MOST_MORE, MORE_BYTES = 10, 2000, 16 * 1024**2
"""By how many records the prefetch is raised: so many bytes of them."""
MOST_MOVING = 32
"""Records that wait for their confirm, with their bodies."""
TICK = 0.25
QUIET = 1.0
"""Seconds without a record from a queue that is read, before it is taken to be at its end."""

log = logging.getLogger(__name__)


class BusyError(AmqpError):
    """Somebody else reads the queue."""


class Judged(NamedTuple):
    """When a record was put off, at the earliest and at the latest, and the rule that means it, or ""."""

    earliest: float
    latest: float
    rule: str


class Ways(NamedTuple):
    """`open`: bytes and message id to a record. `judge`: what the orders say of it. `move` (lane, body, message id): store it in the ready queue. `may_go_on`: whether
    this relay may work now. `has_room`: whether the ready queues have. `word`: what is logged of a mail that is moved, before the rule."""

    open: Callable[[bytes, Callable[[], str]], Record]
    judge: Callable[[Record], Judged]
    move: Callable[[Lane, bytes, str], Awaitable[None]]
    may_go_on: Callable[[], bool]
    has_room: Callable[[], bool]
    word: str = "requeued by rule"


class Visit:
    """`queues`: their names, each with its lane; `limit`: Unix time, nothing from after it is meant; `moved`: counts by rule, for metrics; `looked`:
    mails so far."""

    def __init__(self, queues: Mapping[str, Lane], ways: Ways, limit: float, moved: Counter[str]) -> None:
        self._queues = queues
        self._ways = ways
        self._counts = moved
        self._lockstep = Lockstep(queues, limit)
        self._pace = Pace(time.monotonic())
        self._channels: dict[str, ConsumeChannel] = {}
        self._heard: dict[str, float] = {}
        self._prefetch: dict[str, int] = {}
        self._bytes = 0
        self._cancelled: set[str] = set()
        self._moving: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._fault = ""
        self._over = False
        self.looked = self._moved = 0

    async def run(self, connections: Mapping[str, Connection], seconds: float) -> Visited:
        """Read for so long at most, each queue over a connection of its own. The caller closes these afterwards, whatever happens. Raises AmqpError."""
        until = time.monotonic() + seconds
        for queue, connection in connections.items():
            await self._begin(queue, connection, connections.values())
        try:
            while not self._lockstep.whole and time.monotonic() < until and self._may_go_on():
                self._changed.clear()
                self._move()
                self._steer()
                await self._take_more()
                await self._end_what_is_quiet()
                await self._wait()
        finally:
            self._over = True
            await self._finish()
        return Visited(self.looked, self._moved, self._lockstep.whole and not self._fault)

    async def _begin(self, queue: str, connection: Connection, nodes: Collection[Connection]) -> None:
        """A queue that does not exist is empty; but a node may have lost sight of one that others lead, and what is in there must not be left behind."""
        channel = await ConsumeChannel.open(connection, DEADLINE)
        try:
            found = await channel.declare(queue, DEADLINE, passive=True)
        except NotFound:
            if any([await exists(each, queue) for each in nodes]):
                raise
            self._lockstep.end(queue)
            return
        if found.consumers:
            raise BusyError(f"{queue} is being read already")
        self._channels[queue] = channel
        await self._consume(queue, channel, FEWEST_MORE)

    async def _consume(self, queue: str, channel: ConsumeChannel, prefetch: int) -> None:
        self._prefetch[queue] = min(prefetch, MOST_IN_HAND)
        self._heard[queue] = time.monotonic()
        read, prefetch = partial(self._read, queue), self._prefetch[queue]
        await channel.consume(queue, prefetch, read, DEADLINE, tag="relay")  # the same one again: it keeps what it has

    async def _take_more(self) -> None:
        """Raise the prefetch of a queue most of whose records stay in our hands."""
        more = min(max(int(MORE_BYTES * self.looked / max(self._bytes, 1)), FEWEST_MORE), MOST_MORE)
        for queue, channel in self._channels.items():
            prefetch = self._prefetch[queue]
            if (
                prefetch < MOST_IN_HAND
                and channel.unacknowledged > prefetch - FEWEST_MORE // 2
                and self._is_read(queue)
            ):
                await channel.cancel(DEADLINE)
                await self._consume(queue, channel, prefetch + more)

    def _is_read(self, queue: str) -> bool:
        """Records of this queue may come at any moment."""
        reading = self._channels[queue].connection.is_reading
        return reading and queue not in self._cancelled and not self._lockstep.is_whole(queue)

    def _read(self, queue: str, delivery: Delivery) -> None:
        if self._over:
            return
        self.looked += 1
        self._heard[queue] = time.monotonic()
        self._bytes += len(delivery.body)
        self._pace.look(len(delivery.body))
        self._changed.set()
        try:
            record = self._ways.open(delivery.body, lambda: delivery.message_id)
        except (RecordError, KeyMissingError):
            return  # it is not ours to judge; its turn will come
        judged = self._ways.judge(record)
        found = None
        if judged.rule:
            found = Found(delivery.tag, delivery.body, delivery.message_id, judged.latest, judged.rule)
        self._lockstep.read(queue, judged.earliest, found)

    def _may_go_on(self) -> bool:
        if self._fault or not self._ways.may_go_on():
            return False
        for each in self._channels.values():
            if each.error is not None:
                raise each.error
        return all(each.unacknowledged < MOST_IN_HAND for each in self._channels.values())

    def _move(self) -> None:
        movable = self._lockstep.movable()
        while len(self._moving) < MOST_MOVING and not self._fault and (next_one := next(movable, None)):
            queue, found = next_one
            self._pace.move()
            task = asyncio.create_task(self._move_one(queue, found))
            self._moving.add(task)
            task.add_done_callback(self._done)

    async def _finish(self) -> None:
        """Move what the other queues have been read for, so that no copy is left behind; each has its deadline."""
        self._move()
        while self._moving:
            await asyncio.wait(self._moving, return_when=asyncio.FIRST_COMPLETED)
            self._move()
        await asyncio.sleep(0)  # the last acknowledgements leave

    def _done(self, task: asyncio.Task[None]) -> None:
        self._moving.discard(task)
        self._changed.set()

    async def _move_one(self, queue: str, found: Found) -> None:
        """First there, then not here any more: it may be in both places for a moment, and never is in none."""
        if not self._channels[queue].is_open:
            return  # it is back in its queue
        try:
            await self._ways.move(self._queues[queue], found.body, found.message_id)
        except SpoolError as error:
            self._fault = str(error)
            log.warning("%s is not requeued now: %s", found.message_id, error)
            return
        if self._channels[queue].is_open:
            self._channels[queue].ack(found.tag)
        self._moved += 1
        self._counts[found.rule] += 1
        log.info("%s is %s %s", found.message_id, self._ways.word, found.rule)

    def _steer(self) -> None:
        """Read what may be read now; leave the rest in the socket."""
        free = self._is_free()
        for queue, channel in self._channels.items():
            if free and self._lockstep.may_read(queue):
                if not channel.connection.is_reading:
                    self._heard[queue] = time.monotonic()
                channel.connection.resume_reading()
            else:
                channel.connection.pause_reading()

    def _is_free(self) -> bool:
        return len(self._moving) < MOST_MOVING and self._pace.wait(time.monotonic()) == 0.0 and self._ways.has_room()

    async def _end_what_is_quiet(self) -> None:
        """A queue that gives no more is asked to give no more: when its leader has said yes to that, and still nothing comes, there is nothing."""
        for queue, channel in self._channels.items():
            quiet = time.monotonic() - self._heard[queue] > QUIET
            if not quiet or not channel.connection.is_reading or self._lockstep.is_whole(queue):
                continue
            if queue in self._cancelled:
                self._lockstep.end(queue)
                self._changed.set()
            else:
                await channel.cancel(DEADLINE)
                self._cancelled.add(queue)
                self._heard[queue] = time.monotonic()

    async def _wait(self) -> None:
        pause = min(self._pace.wait(time.monotonic()), TICK) or TICK
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._changed.wait()
