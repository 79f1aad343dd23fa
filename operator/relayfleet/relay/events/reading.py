"""Reads the journal's stream from any place of it, over whatever brokers answer, and leaves nothing out.

First it finds where the stream ends: it writes a mark, which no relay takes notice of, and sees at which offset it comes. Connections that are lost are
made anew, and reading goes on behind the last message that the caller has got: that one is asked for again, so that it shows when it is not kept any more, and what
came after it neither.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.errors import AmqpError
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.relay.spool.rabbitmq.declaring import DEADLINE
from relayfleet.relay.spool.rabbitmq.entries import Entry, decode, encode
from relayfleet.relay.spool.rabbitmq.link import Link, Target

PREFETCH = 200
OTHER_OFFSETS = 8
"""Offsets between two messages that the broker may have used for itself: one when it begins a segment. A segment that is gone had more: it has 32 MiB, and a
message one at most."""


class OtherJournalError(Exception):
    """The journal ends before the place to read from: it was made anew, or is another pool's."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin: at an `offset`, or with what was written since `since` (Unix seconds), or, with neither, at the end."""

    offset: int | None = None
    since: float | None = None


BEGINNING = Start(offset=0)
NOW = Start()


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the stream. `gap`: what was between the one before and this is not kept any more, and was not read."""

    offset: int
    body: bytes
    gap: bool = False


class Reader:
    """Reads once. `end`: the last offset of the stream when it began, -1 before that is known; `why_not`: why nothing comes now, or ""."""

    def __init__(self, target: Target, stream: str, start: Start) -> None:
        self._stream = stream
        self._start = start
        self._holder = f"events/{os.urandom(4).hex()}"
        self._came: asyncio.Queue[tuple[Message, ConsumeChannel, int] | OtherJournalError] = asyncio.Queue()
        self._next: int | None = start.offset
        self._last: int | None = None
        self._resumes = False
        self._link = Link(target, "events", os.urandom(1)[0], self._prepare, self._forget)
        self.end = -1

    @property
    def why_not(self) -> str:
        return self._link.why

    async def messages(self, *, follow: bool) -> AsyncGenerator[Message, None]:
        """All messages from the start on; without `follow` up to where the stream ended when reading began. The broker sends no more than
        `PREFETCH` beyond the one that the caller works on. Raises OtherJournalError."""
        self._link.start()
        try:
            while True:
                came = await self._came.get()
                if isinstance(came, OtherJournalError):
                    raise came
                message, channel, tag = came
                self._last = message.offset
                yield message
                with suppress(AmqpError):  # lost meanwhile: reading goes on behind what came
                    channel.ack(tag)
                if not follow and message.offset >= self.end:
                    return
        finally:
            await self._link.stop()

    async def _prepare(self, connection: Connection) -> ConsumeChannel:
        if self.end < 0:
            self.end = await self._find_end(connection)
            if self._next is not None and self._next > self.end:
                error = (
                    f"the journal ends at {self.end}, before {self._next}: it is not the one that the offset is from"
                )
                self._came.put_nowait(OtherJournalError(error))
        channel = await ConsumeChannel.open(connection, DEADLINE)
        self._resumes = self._last is not None
        arguments = {"x-stream-offset": self._place()}
        await channel.consume(self._stream, PREFETCH, lambda each: self._take(channel, each), DEADLINE, arguments)
        return channel

    def _place(self) -> int | str:
        if self._next is None and self._start.since is not None:
            # A broker knows how old a whole chunk is, and its clock is another one: rather a second too early.
            return f"{max(math.ceil(time.time() - self._start.since), 0) + 1}s"
        if self._last is not None:
            return self._last
        return self.end if self._next is None else self._next

    def _forget(self) -> None:
        """What came and was not read yet comes again over the next connection, or each would add to it while the caller is busy."""
        unread = [self._came.get_nowait() for _ in range(self._came.qsize())]
        for each in unread:
            if isinstance(each, OtherJournalError):
                self._came.put_nowait(each)
        self._next = next((each[0].offset for each in unread if not isinstance(each, OtherJournalError)), self._next)

    def _take(self, channel: ConsumeChannel, delivery: Delivery) -> None:
        offset = int(delivery.headers.get("x-stream-offset", -1))
        if self._next is not None and offset < self._next:
            self._resumes = False
            channel.ack(delivery.tag)
            return
        between = offset - self._next if self._next is not None else 0
        # A broker goes on behind what it has deleted, without a word.
        gap = between > (0 if self._resumes else OTHER_OFFSETS)
        self._next, self._resumes = offset + 1, False
        self._came.put_nowait((Message(offset, delivery.body, gap), channel, delivery.tag))

    async def _find_end(self, connection: Connection) -> int:
        """Raises AmqpError."""
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def look(delivery: Delivery) -> None:
            reader.ack(delivery.tag)
            if not found.done() and any(each.holder == self._holder for each in decode(delivery.body)):
                found.set_result(int(delivery.headers.get("x-stream-offset", -1)))

        reader = await ConsumeChannel.open(connection, DEADLINE)
        await reader.consume(self._stream, PREFETCH, look, DEADLINE, {"x-stream-offset": "next"})
        writer = await PublishChannel.open(connection, DEADLINE)
        mark = Entry("mark", "", (), self._holder, time.time(), 0)
        try:
            async with asyncio.timeout(DEADLINE):
                await writer.publish(self._stream, encode([mark]), "journal").stored
                end = await found
        except TimeoutError as error:
            raise AmqpError("the journal cannot be written: have the brokers lost their majority?") from error
        for each in (reader, writer):
            await each.close(DEADLINE)
        return end
