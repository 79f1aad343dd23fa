"""The journal: a replicated stream in which relays state claims and outcomes, so that duplicates can be told.

Writing: statements wait for those before them (at most two messages under way) and leave together. Reading: every relay reads the
whole stream, from 45 minutes ago when it starts. A claim counts when it has come back through the stream, which it does only after a
majority has it; its place there decides who was first. Until a relay has read up to its own mark it knows too little to answer `seen`.

A stream is replicated before it is confirmed, but not synced to disk: losing all brokers' power at once can lose its last moments.
Records themselves are in quorum queues, which are synced.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.errors import AmqpError
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import Claim, ClaimRefusedError, Held, Seen, SpoolUnavailable
from relayfleet.relay.spool.rabbitmq.declaring import DEADLINE, declare
from relayfleet.relay.spool.rabbitmq.entries import Entry, Kind, decode, encode
from relayfleet.relay.spool.rabbitmq.ledger import Ledger
from relayfleet.relay.spool.rabbitmq.link import SILENT, Link, Target
from relayfleet.relay.spool.rabbitmq.topology import VERSION, Queue
from relayfleet.relay.spool.record import Record

TIMEOUT = 2.0
"""Seconds for a statement; well below the life of a claim."""

LOOK_BACK = "45m"
UNDER_WAY = 2
PREFETCH = 200
_ANSWER = 300
_MARK_PAUSE = 0.3


class RabbitMQJournal:
    """Fits `interface.Journal`. `name` is the relay's; each life of a relay is a holder of its own."""

    def __init__(
        self,
        broker: Broker,
        credentials: Callable[[], tuple[str, str]],
        ca_file: str | None = None,
        *,
        name: str = "relayfleet",
    ) -> None:
        self._target = target = Target(broker, credentials, ca_file, name)
        self.holder = f"{name}/{os.urandom(4).hex()}"
        self._stream = stream(broker)
        self._ledger = Ledger()
        self._writer: PublishChannel | None = None
        self._under_way = 0
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._number = 0
        self._claims: dict[int, tuple[asyncio.Future[bool], float]] = {}
        self._offset: int | None = None
        self._caught_up = asyncio.Event()
        self._mark = 0
        self._marking: asyncio.Task[None] | None = None
        self._links = (
            Link(target, "journal write", 2, self._prepare_writer, self._writer_lost),
            Link(target, "journal read", 2, self._prepare_reader, self._caught_up.clear),
        )

    def start(self) -> None:
        """Connect and read in the background; until it has caught up all methods raise SpoolUnavailable when their time is over."""
        for each in self._links:
            each.start()
        if self._marking is None:
            self._marking = asyncio.create_task(self._keep_up(), name="journal marks")

    def reconfigure(self, broker: Broker) -> None:
        """Take over the brokers' addresses; connections that stand are kept."""
        self._target.broker = broker

    async def close(self) -> None:
        """Close the connections."""
        if self._marking is not None:
            self._marking.cancel()
            await asyncio.wait([self._marking])
        await asyncio.gather(*(each.stop() for each in self._links))

    @property
    def why_not(self) -> str:
        """Why it cannot be used now; empty when it can."""
        down = "; ".join(dict.fromkeys(each.why for each in self._links if each.why))
        return down or ("" if self._caught_up.is_set() else "the journal is being read")

    async def seen(self, record: Record) -> Seen:
        """See `interface.Journal.seen`."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._caught_up.wait()
        except TimeoutError as error:
            raise SpoolUnavailable(f"the journal cannot be read: {self.why_not}") from error
        return self._ledger.seen(record.key, [each.address for each in record.recipients], record.earlier_keys)

    async def claim(self, held: Held, recipients: Sequence[str], source: str, host: str) -> Claim:
        """See `interface.Journal.claim`."""
        if not held.is_ours:
            raise ClaimRefusedError("the connection to the queue was lost: the record is with others")
        asked_at = time.monotonic()
        entry = self._entry("claim", held.record.key, recipients, source=source, host=host)
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._claims[entry.number] = (granted, asked_at)
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._state(entry)
                first = await granted
        except TimeoutError as error:
            raise SpoolUnavailable(f"the claim did not come back within {TIMEOUT:g} s: {self.why_not}") from error
        finally:
            del self._claims[entry.number]
        if not first:
            raise ClaimRefusedError("another copy of the record is claimed or done")
        if not held.is_ours:
            raise ClaimRefusedError("the connection to the queue was lost while claiming: the record is with others")
        return Claim(asked_at)

    async def outcome(self, held: Held, recipients: Sequence[str], delivered: bool, answer: str) -> None:
        """See `interface.Journal.outcome`."""
        entry = self._entry("outcome", held.record.key, recipients, delivered=delivered, answer=answer[:_ANSWER])
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._state(entry)
        except TimeoutError as error:
            raise SpoolUnavailable(f"the outcome was not confirmed within {TIMEOUT:g} s: {self.why_not}") from error

    def _entry(
        self,
        kind: Kind,
        key: str = "",
        recipients: Sequence[str] = (),
        *,
        source: str = "",
        host: str = "",
        delivered: bool = False,
        answer: str = "",
    ) -> Entry:
        self._number += 1
        place = (self.holder, time.time(), self._number)
        return Entry(kind, key, tuple(recipients), *place, source, host, delivered, answer)

    # Writing.

    async def _state(self, entry: Entry) -> None:
        """Return when a majority has the entry. Raises SpoolUnavailable."""
        if self._writer is None:
            raise SpoolUnavailable(f"the journal cannot be written: {self.why_not}")
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, stored))
        self._send()
        try:
            await stored
        except AmqpError as error:
            raise SpoolUnavailable(f"the journal cannot be written: {error}") from error

    def _send(self) -> None:
        if not self._waiting or self._under_way >= UNDER_WAY or self._writer is None or not self._writer.is_open:
            return
        batch, self._waiting = self._waiting, []
        self._under_way += 1
        publish = self._writer.publish(self._stream.name, encode(entry for entry, _ in batch), "journal")
        publish.stored.add_done_callback(lambda done: self._sent(batch, done))

    def _sent(self, batch: list[tuple[Entry, asyncio.Future[None]]], done: asyncio.Future[None]) -> None:
        self._under_way -= 1
        for _, stored in batch:
            _pass_on(done.exception(), stored)
        self._send()

    async def _declare(self, connection: Connection) -> None:
        await declare(connection, [self._stream], lambda: self._target.dial_others(connection, "look"))

    async def _prepare_writer(self, connection: Connection) -> PublishChannel:
        await self._declare(connection)
        self._writer = await PublishChannel.open(connection, DEADLINE)
        self._send()
        return self._writer

    def _writer_lost(self) -> None:
        self._writer = None
        waiting, self._waiting = self._waiting, []
        for _, stored in waiting:
            _pass_on(AmqpError(self._links[0].why), stored)

    # Reading.

    async def _prepare_reader(self, connection: Connection) -> ConsumeChannel:
        await self._declare(connection)
        channel = await ConsumeChannel.open(connection, DEADLINE)
        start = LOOK_BACK if self._offset is None else self._offset + 1
        arguments = {"x-stream-offset": start}
        await channel.consume(
            self._stream.name, PREFETCH, lambda delivery: self._read(channel, delivery), DEADLINE, arguments
        )
        return channel

    def _read(self, channel: ConsumeChannel, delivery: Delivery) -> None:
        offset = int(delivery.headers.get("x-stream-offset", -1))
        channel.ack(delivery.tag)
        if self._offset is not None and offset <= self._offset:
            return
        self._offset = offset
        for entry in decode(delivery.body):
            granted = self._ledger.apply(entry, time.monotonic())
            if entry.holder == self.holder:
                self._own(entry, granted)

    def _own(self, entry: Entry, granted: bool) -> None:
        if entry.kind == "mark" and entry.number == self._mark:
            self._caught_up.set()
        waiter, _ = self._claims.get(entry.number, (None, 0.0))
        if entry.kind == "claim" and waiter is not None and not waiter.done():
            waiter.set_result(granted)

    async def _keep_up(self) -> None:
        """Cut connections that are frozen; while it is not known that everything is read, write marks and look for them."""
        while True:
            await asyncio.sleep(_MARK_PAUSE)
            self._cut_if_frozen()
            if not self._caught_up.is_set() and not any(each.why for each in self._links):
                with suppress(SpoolUnavailable, TimeoutError):
                    await self._look_where_we_are()

    async def _look_where_we_are(self) -> None:
        entry = self._entry("mark")
        self._mark = entry.number
        async with asyncio.timeout(SILENT):
            await self._state(entry)
            await self._caught_up.wait()

    def _cut_if_frozen(self) -> None:
        write, read = self._links
        if self._writer is not None:
            write.cut_if_frozen(self._writer.stalled())
        oldest = next(iter(self._claims.values()), None)
        if oldest is not None:
            read.cut_if_frozen(time.monotonic() - oldest[1])


def stream(broker: Broker) -> Queue:
    """The journal's stream: an hour of it, or as many bytes, in segments small enough to be dropped in time."""
    arguments = {
        "x-queue-type": "stream",
        "x-initial-cluster-size": broker.replicas,
        "x-queue-leader-locator": "balanced" if len(broker.addresses) == 1 else "client-local",
        "x-max-age": "60m",
        "x-max-length-bytes": 8 * 1024**3,
        "x-stream-max-segment-size-bytes": 32 * 1024**2,
    }
    return Queue(f"{broker.queue_prefix}.{VERSION}.journal", arguments)


def _pass_on(error: BaseException | None, waiter: asyncio.Future[None]) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
        waiter.exception()
