"""The journal: a replicated stream in which relays state claims and outcomes, so that duplicates can be told.

Writing: see `statements`. Reading: every relay reads the whole stream, from an hour ago when it starts, which is as far as it goes. A claim counts when it has come back through the stream, which it does only after a
majority has it; its place there decides who was first. Until a relay has read up to its own mark it knows too little to answer `seen`.

A stream is replicated before it is confirmed, but not synced to disk: losing all brokers' power at once can lose its last moments.
Records themselves are in quorum queues, which are synced.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import Claim, ClaimRefusedError, Event, Held, Seen, SpoolUnavailable, Word
from relayfleet.relay.spool.rabbitmq.declaring import DEADLINE, declare
from relayfleet.relay.spool.rabbitmq.entries import Entry, decode
from relayfleet.relay.spool.rabbitmq.ledger import Ledger
from relayfleet.relay.spool.rabbitmq.link import SILENT, Link, Target
from relayfleet.relay.spool.rabbitmq.statements import Statements
from relayfleet.relay.spool.rabbitmq.topology import VERSION, Queue
from relayfleet.relay.spool.record import Record, message_id

TIMEOUT = 2.0
"""Seconds for a statement; well below the life of a claim."""

LOOK_BACK = "60m"
"""As long as the ledger keeps, and as the stream does."""
PREFETCH = 200
_ANSWER = 300
_MARK_PAUSE = 0.3

log = logging.getLogger(__name__)


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
        self._statements = Statements(self._stream.name)
        self._number = 0
        self._claims: dict[int, tuple[asyncio.Future[bool], float]] = {}
        self._offset: int | None = None
        self._caught_up = asyncio.Event()
        self._mark = 0
        self._heard: Callable[[Word], None] = lambda word: None
        self._tasks: list[asyncio.Task[None]] = []
        self._links = (
            Link(target, "journal write", 2, self._prepare_writer, self._writer_lost),
            Link(target, "journal read", 2, self._prepare_reader, self._caught_up.clear),
        )

    def start(self) -> None:
        """Connect and read in the background; until it has caught up all methods raise SpoolUnavailable when their time is over."""
        for each in self._links:
            each.start()
        if not self._tasks:
            self._tasks.append(asyncio.create_task(self._keep_up(), name="journal marks"))
            self._tasks.append(asyncio.create_task(self._pay(), name="journal debts"))

    def reconfigure(self, broker: Broker) -> None:
        """Take over the brokers' addresses; connections that stand are kept."""
        self._target.broker = broker

    async def close(self) -> None:
        """State what is owed and close the connections."""
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._statements.pay(TIMEOUT)
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
        return self._ledger.seen(record.key, [each.address for each in record.recipients], self.holder)

    async def claim(self, held: Held, recipients: Sequence[str], source: str, host: str) -> Claim:
        """See `interface.Journal.claim`."""
        if not held.is_ours:
            raise ClaimRefusedError("the connection to the queue was lost: the record is with others")
        asked_at = time.monotonic()
        place = self._place()
        entry = Entry(
            "claim", held.record.key, tuple(recipients), *place, source=source, host=host, detail=_first(held.record)
        )
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        claim = Claim(asked_at, entry.number)
        self._claims[entry.number] = (granted, asked_at)
        try:
            async with asyncio.timeout(TIMEOUT):
                left_at = await self._statements.state(entry)
                first = await granted
            if not first:
                raise ClaimRefusedError("another copy of the record is claimed or done")
            if not held.is_ours:
                raise ClaimRefusedError(
                    "the connection to the queue was lost while claiming: the record is with others"
                )
            return replace(claim, left_at=left_at)
        except TimeoutError as error:
            self.withdraw(held, recipients, claim)
            raise SpoolUnavailable(f"the claim did not come back within {TIMEOUT:g} s: {self.why_not}") from error
        except BaseException:
            self.withdraw(held, recipients, claim)
            raise
        finally:
            del self._claims[entry.number]

    def withdraw(self, held: Held, recipients: Sequence[str], claim: Claim) -> None:
        """See `interface.Journal.withdraw`."""
        withdrawal = Entry("withdrawal", held.record.key, tuple(recipients), self.holder, time.time(), claim.number)
        self._statements.owe(withdrawal)

    async def outcome(
        self, held: Held, recipients: Sequence[str], delivered: bool, answer: str, source: str = "", host: str = ""
    ) -> None:
        """See `interface.Journal.outcome`."""
        detail = _name(held.record) | {"source": source, "host": host}
        common = (held.record.key, tuple(recipients), *self._place())
        await self._confirmed(
            "outcome", Entry("outcome", *common, delivered=delivered, answer=answer[:_ANSWER], detail=detail)
        )

    async def purge(self, held: Held, recipients: Sequence[str], rule: str) -> None:
        """See `interface.Journal.purge`."""
        if not held.is_ours:
            raise ClaimRefusedError("the connection to the queue was lost: the record is with others")
        common = (held.record.key, tuple(recipients), *self._place())
        await self._confirmed("purge", Entry("purge", *common, rule=rule, detail=_first(held.record)))

    def settled(self, held: Held, recipients: Sequence[str]) -> None:
        """See `interface.Journal.settled`."""
        self._statements.owe(Entry("settled", held.record.key, tuple(recipients), *self._place()))

    async def tell(self, held: Held, events: Sequence[Event]) -> None:
        """See `interface.Journal.tell`."""
        key, first = held.record.key, _first(held.record)
        entries = [
            Entry("event", key, each.recipients, *self._place(), name=each.name, detail={**first, **each.detail})
            for each in events
        ]
        await self._confirmed("event", *entries)

    def say(self, word: Word) -> None:
        """See `interface.Journal.say`."""
        common = ("", word.destination, *self._place())
        self._statements.owe(Entry("destination", *common, dead=word.dead, answer=word.why[:_ANSWER], tries=word.tries))

    def listen(self, heard: Callable[[Word], None]) -> None:
        """See `interface.Journal.listen`."""
        self._heard = heard

    async def _confirmed(self, what: str, *entries: Entry) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*(self._statements.state(each) for each in entries))
        except TimeoutError as error:
            raise SpoolUnavailable(f"the {what} was not confirmed within {TIMEOUT:g} s: {self.why_not}") from error

    def _place(self) -> tuple[str, float, int]:
        self._number += 1
        return self.holder, time.time(), self._number

    async def _declare(self, connection: Connection) -> None:
        await declare(connection, [self._stream], lambda: self._target.dial_others(connection, "look"))

    async def _prepare_writer(self, connection: Connection) -> PublishChannel:
        await self._declare(connection)
        channel = await PublishChannel.open(connection, DEADLINE)
        self._statements.use(channel)
        return channel

    def _writer_lost(self) -> None:
        self._statements.lost(self._links[0].why)

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
        entries = decode(delivery.body)
        for entry in entries:
            granted = self._ledger.apply(entry, time.monotonic())
            if entry.holder == self.holder:
                self._own(entry, granted)
        for entry in entries:  # after all claims: a fault there must hide none
            if entry.kind == "destination" and entry.holder != self.holder:
                self._hand_on(entry)

    def _hand_on(self, entry: Entry) -> None:
        age = max(time.time() - entry.time, 0.0)
        try:
            self._heard(Word(entry.recipients, entry.dead, entry.answer, entry.tries, age))
        except Exception:
            log.exception("a word on %s: a fault of ours", entry.recipients)

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

    async def _pay(self) -> None:
        while True:
            await asyncio.sleep(_MARK_PAUSE)
            await self._statements.pay(TIMEOUT)

    async def _look_where_we_are(self) -> None:
        entry = Entry("mark", "", (), *self._place())
        self._mark = entry.number
        async with asyncio.timeout(SILENT):
            await self._statements.state(entry)
            await self._caught_up.wait()

    def _cut_if_frozen(self) -> None:
        write, read = self._links
        if self._statements.channel is not None:
            write.cut_if_frozen(self._statements.channel.stalled())
        oldest = next(iter(self._claims.values()), None)
        if oldest is not None:
            read.cut_if_frozen(time.monotonic() - oldest[1])


def _name(record: Record) -> dict[str, Any]:
    found = message_id(record.message)
    return {"message_id": found} if found else {}


def _first(record: Record) -> dict[str, Any]:
    """With how it came to us, when this is its first attempt: nobody else writes that down."""
    if record.attempt:
        return _name(record)
    came = {"accepted": round(record.accepted_at, 3), "accepted_for": len(record.recipients)}
    return _name(record) | came | ({"credential": record.credential} if record.credential else {})


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
