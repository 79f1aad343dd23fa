"""`relayfleet events` and `relayfleet find`: commands for a person or a program in a relay's pod.

kubectl exec deploy/transactional-relay -- relayfleet events --after 1234-5
kubectl exec deploy/transactional-relay -- relayfleet find 01JD3K5W8E9QZ7X2V4T6B8N0MA
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Any, BinaryIO

from relayfleet.protocol.relay_config import ConfigError, RelayConfig, load
from relayfleet.relay.events.event import Acceptances, Event, Position, PositionError, events, missing
from relayfleet.relay.events.reading import BEGINNING, NOW, Message, OtherJournalError, Reader, Start
from relayfleet.relay.events.words import history
from relayfleet.relay.files import Files, files_of
from relayfleet.relay.spool.rabbitmq.journal import stream
from relayfleet.relay.spool.rabbitmq.link import Target

PROGRESS_SECONDS = 2.0
LEAVE_SECONDS = 5.0
"""A thread that waits for a full pipe cannot be cancelled, and Python waits for its threads."""
MOST_FOUND = 1000
"""Events that `find` shows."""
_DURATION = re.compile(r"(\d+)([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


class UsageError(ValueError):
    """What was asked for cannot be understood."""


def run_events(
    after: str, since: str, beginning: bool, follow: bool, out: BinaryIO | None = None, files: Files | None = None
) -> int:
    """Write events as JSON, one a line, until SIGTERM or, without `follow`, to the end that the journal has now; returns the exit status."""
    target = out or sys.stdout.buffer

    async def work(config: RelayConfig, reader: Callable[[Start], Reader]) -> int:
        place = Position.parse(after) if after else None
        start = BEGINNING if beginning else Start(offset=place.offset) if place else _since(since, time.time())
        async for each in told(reader(start), config.pool, place, follow=follow):
            await asyncio.to_thread(_write, target, each)
        return 0

    return _run("events", work, files, told_to_end=0)


def run_find(word: str, seconds: float, files: Files | None = None, out: BinaryIO | None = None) -> int:
    """Write what became of the mail with that record id or Message-ID; returns the exit status: 1 when the journal does not know it, 2 when it was not
    found in as much of it as was read."""
    target = out or sys.stdout.buffer
    if not word.strip("<> "):
        _say("find", "say which: a record's id or a Message-ID")
        return 2

    async def work(config: RelayConfig, reader: Callable[[Start], Reader]) -> int:
        search, source, unread = Search(word, config.pool), reader(BEGINNING), False
        try:
            async with asyncio.timeout(seconds):
                await search.through(source)
        except TimeoutError:
            why = source.why_not or f"only a part of the journal was read, {search.place} of {source.end}"
            _say("find", f"given up after {seconds:g} s (--timeout): {why}")
            unread = True
        for found in search.found.values():
            _write(target, [f"{each}\n".encode() for each in history(found)])
        if search.full:
            _say(
                "find",
                f"these are the first {MOST_FOUND} events; for all: relayfleet events --from-beginning --no-follow",
            )
        if search.found:
            return 0
        if unread:
            return 2
        _say("find", f"nothing of {word} in the journal. {search.reach}")
        return 1

    return _run("find", work, files, told_to_end=2)


async def told(reader: Reader, pool: str, after: Position | None, *, follow: bool) -> AsyncGenerator[list[bytes], None]:
    """The lines of each message, behind the place `after`. A gap is told of by an event of its own. Raises OtherJournalError."""
    first, last, acceptances = True, after, Acceptances()
    async with aclosing(reader.messages(follow=follow)) as messages:
        async for message in messages:
            found = list(events(message.offset, message.body, pool))
            lines = [event for place, event in found if (after is None or place > after) and acceptances.news(event)]
            behind = first and after is not None and message.offset > after.offset
            if last is not None and (behind or message.gap):
                lines.insert(0, missing(last, message.offset))
            first, last = False, found[-1][0] if found else Position(message.offset, 0)
            if lines:
                yield [json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in lines]


class Search:
    """Looks for one mail. `found`: its events by record, since a Message-ID may come twice; `full`: there are more; `place`: the offset read last."""

    def __init__(self, word: str, pool: str) -> None:
        self._word, self._pool = word.strip("<>"), pool
        self._needles = {json.dumps(self._word)[1:-1].encode()}
        self._oldest = ""
        self._acceptances = Acceptances()
        self.found: dict[str, list[Event]] = {}
        self.full = False
        self.place = -1

    @property
    def reach(self) -> str:
        """What it means that nothing was found."""
        return (
            f"It reaches back to {self._oldest or 'now'}. A mail that no relay has tried yet is not in it: look for `accepted id=` in the relays' logs, "
            "which also have what is older."
        )

    async def through(self, reader: Reader) -> None:
        """Read all that the journal has; says on standard error how far it is."""
        said = time.monotonic()
        async with aclosing(reader.messages(follow=False)) as messages:
            async for message in messages:
                self.place = message.offset
                self._oldest = self._oldest or _oldest(message)
                if any(each in message.body for each in self._needles):
                    self._take(message.offset, message.body)
                if self.full:
                    return
                if time.monotonic() - said > PROGRESS_SECONDS:
                    said = time.monotonic()
                    _say("find", f"read up to message {message.offset} of {reader.end}")

    def _take(self, offset: int, body: bytes) -> None:
        for _, event in events(offset, body, self._pool):
            record = event["record"]
            if record in self.found or self._word in (record, str(event.get("messageId", "")).strip("<>")):
                self._needles.add(record.encode())
                if self._acceptances.news(event):
                    self.found.setdefault(record, []).append(event)
        self.full = sum(map(len, self.found.values())) >= MOST_FOUND


def _oldest(message: Message) -> str:
    """When the first entry was written that a reader is told of; "" for none."""
    found = (event for _, event in events(message.offset, message.body, "") if event["event"] != "accepted")
    return next((str(each.get("time", "")) for each in found), "")


def _since(text: str, now: float) -> Start:
    """Raises UsageError."""
    if not text:
        return NOW
    if duration := _DURATION.fullmatch(text):
        return Start(since=now - int(duration[1]) * _SECONDS[duration[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: neither a duration (30m) nor a time (2026-01-31T12:00:00Z)") from error
    if moment.tzinfo is None:
        raise UsageError(f"--since {text}: say its time zone, such as {text}Z")
    return Start(since=moment.timestamp())


def _run(
    command: str,
    work: Callable[[RelayConfig, Callable[[Start], Reader]], Coroutine[Any, Any, int]],
    files: Files | None,
    told_to_end: int,
) -> int:
    """`told_to_end`: the status when a signal ends it."""
    name = os.environ.get("RELAYFLEET_RELAY_NAME", "relay")
    files = files or files_of(name)
    try:
        config = load(files.config.read_text())
        target = Target(config.broker, files.broker_credentials, str(files.broker_ca), f"{name} {command}")
        reader = partial(Reader, target, stream(config.broker).name)
        return asyncio.run(_until_told(work(config, reader), told_to_end))
    except BrokenPipeError:
        # Who reads us has gone. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ConfigError, PositionError, UsageError, OtherJournalError) as error:
        _say(command, str(error))
        return 2


async def _until_told(work: Coroutine[Any, Any, int], status: int) -> int:
    """SIGTERM and SIGINT end it well, with that status; who does not read what we write keeps us no longer than `LEAVE_SECONDS`."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()

    def leave() -> None:
        task.cancel()
        loop.call_later(LEAVE_SECONDS, os._exit, status)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    try:
        return await task
    except asyncio.CancelledError:
        return status


def _write(out: BinaryIO, lines: list[bytes]) -> None:
    out.write(b"".join(lines))
    out.flush()


def _say(command: str, text: str) -> None:
    print(f"relayfleet {command}: {text}", file=sys.stderr)  # noqa: T201 - a command
