"""A publishing lane: one connection with confirms, and an opinion whether it can be relied on now.

A lane is *trusted* while its confirms come in time. One that is overdue, or that was lost, is on trial: it gets one record at a time until
a confirm comes back. So a frozen leader costs the records on their way one wait, and those after them none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.errors import AmqpError, ConnectionLost
from relayfleet.amqp.publishing import Publish, PublishChannel
from relayfleet.relay.spool.interface import BYTES_A_SECOND
from relayfleet.relay.spool.rabbitmq.declaring import DEADLINE, declare, prove_dead_letters_are_kept
from relayfleet.relay.spool.rabbitmq.link import Link, Target
from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane, Topology

OVERDUE = 0.4
"""Seconds without any confirm from a queue that owes one: many times what a healthy broker takes, however busy it is."""

UNCONFIRMED_BYTES = 64 * 1024**2

log = logging.getLogger(__name__)


class PublishLane:
    """One of the two ways into the queue."""

    def __init__(self, lane: Lane, target: Target, topology: Topology, changed: Callable[[], None]) -> None:
        self.lane = lane
        self._target = target
        self._topology = topology
        self._changed = changed
        self._channel: PublishChannel | None = None
        self._trusted = False
        self._proven = False
        self.keeps_copies = self._copies_failed = False
        self.link = Link(target, f"publish {lane}", LANES.index(lane), self._prepare, self._lost)

    @property
    def is_up(self) -> bool:
        """It can be given a record; no promise that the record will be confirmed."""
        return (
            self._channel is not None and self._channel.is_open and self._channel.unconfirmed_bytes < UNCONFIRMED_BYTES
        )

    @property
    def blocked(self) -> str:
        """The broker's alarm, in its words; empty when there is none."""
        return self.link.connection.blocked if self.link.connection else ""

    @property
    def why_not(self) -> str:
        """Why a record cannot be given to it."""
        if self.is_up:
            return ""
        if self._channel is None or not self._channel.is_open:
            return self.link.why or "the connection was lost this moment"
        return f"more than {UNCONFIRMED_BYTES >> 20} MiB wait for a confirm"

    @property
    def queues(self) -> list[str]:
        """Names of its queues, as far as they are known to exist."""
        copied = self._topology.copied(self.lane) if self.keeps_copies else []
        return [each.name for each in (*self._topology.needed(self.lane), *copied)]

    def rank(self, preferred: bool) -> int:
        """The lower the better: trusted or the preferred one's next trial, other trusted, other's trial, overdue, down."""
        if self._channel is None or not self.is_up:
            return 4
        if self.stalls():
            self._trusted = False
        if not self._trusted and self._channel.unconfirmed:
            return 3
        if preferred:
            return 0
        return 1 if self._trusted else 2

    def stalls(self) -> bool:
        """One of its queues owes an answer for too long."""
        return self._overdue() > OVERDUE

    def send(self, queue: str, body: bytes, message_id: str, expires: int | None = None) -> Publish:
        """Publish; the caller waits for `stored`. `expires`: milliseconds. Raises AmqpError."""
        if self._channel is None:
            raise ConnectionLost(self.link.why)
        publish = self._channel.publish(queue, body, message_id, expires)
        if not self._trusted:
            publish.stored.add_done_callback(self._trial_ended)
        return publish

    def cut_if_frozen(self) -> None:
        """To be called a few times a second."""
        self.link.cut_if_frozen(self._overdue())

    def _overdue(self) -> float:
        if self._channel is None:
            return 0.0
        return self._channel.stalled() - self._channel.unconfirmed_bytes / BYTES_A_SECOND

    def _trial_ended(self, stored: asyncio.Future[None]) -> None:
        if not stored.cancelled() and stored.exception() is None and not self.stalls():
            self._trusted = True
            self._changed()

    async def _prepare(self, connection: Connection) -> PublishChannel:
        await self._declare(connection)
        if not self._proven:
            await prove_dead_letters_are_kept(connection, self._topology)
            self._proven = True
        channel = await PublishChannel.open(connection, DEADLINE)
        self._channel, self._trusted = channel, False
        self._changed()
        return channel

    async def _declare(self, connection: Connection) -> None:
        """A relay that is newer than its pool has queues to make, for which all nodes must answer. It does not wait for one that is away: without
        those for copies, a copy comes back later than the first record, as it did before, and that is all."""
        others = partial(self._target.dial_others, connection, "look")
        await declare(connection, self._topology.needed(self.lane), others)
        if (
            self._copies_failed
        ):  # a broker that cannot make a queue may close the connection for it: the next one is for mail
            self.keeps_copies = self._copies_failed = False
            return
        try:
            await declare(connection, self._topology.copied(self.lane), others)
        except AmqpError as error:
            self.keeps_copies, self._copies_failed = False, True
            log.warning("broker publish %s: copies of long waits come back late: %s", self.lane, error)
        else:
            self.keeps_copies = True

    def _lost(self) -> None:
        self._channel, self._trusted = None, False
        self._changed()
