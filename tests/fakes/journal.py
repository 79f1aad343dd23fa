"""A journal in memory, for tests of the delivery. The real one is tested with the queue that keeps it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relayfleet.relay.spool.interface import Claim, Event, Held, Seen, Word
from relayfleet.relay.spool.record import Record


@dataclass(eq=False, slots=True)
class MemoryJournal:
    """Fits `interface.Journal`. A test may let the next claims fail (`fail_next`), outcomes (`fail_outcomes`), purges (`fail_purges`) or events (`fail_events`), claims come
    late (`pause`), be old (`age`) or have left so long after they were asked for (`left_after`), and outcomes wait (`hold`)."""

    claims: list[tuple[str, tuple[str, ...], str, str]] = field(default_factory=list)
    outcomes: list[tuple[str, tuple[str, ...], bool, str]] = field(default_factory=list)
    withdrawn: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    ended: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    purged: list[tuple[str, tuple[str, ...], str]] = field(default_factory=list)
    places: list[tuple[str, str]] = field(default_factory=list)
    told: list[tuple[str, Event]] = field(default_factory=list)
    known: dict[str, Seen] = field(default_factory=dict)
    fail_next: deque[Exception] = field(default_factory=deque)
    fail_outcomes: deque[Exception] = field(default_factory=deque)
    fail_purges: deque[Exception] = field(default_factory=deque)
    fail_events: deque[Exception] = field(default_factory=deque)
    pause: float = 0.0
    age: float = 0.0
    left_after: float = 0.0
    hold: asyncio.Event | None = None
    said: list[Word] = field(default_factory=list)
    listeners: list[Callable[[Word], None]] = field(default_factory=list)

    async def seen(self, record: Record) -> Seen:
        return self.known.get(record.key, Seen())

    async def claim(self, held: Held, recipients: Sequence[str], source: str, host: str) -> Claim:
        asked_at = time.monotonic()
        await asyncio.sleep(self.pause)
        if self.fail_next:
            raise self.fail_next.popleft()
        self.claims.append((held.record.key, tuple(recipients), source, host))
        return Claim(asked_at - self.age, left_at=asked_at - self.age + self.left_after)

    def withdraw(self, held: Held, recipients: Sequence[str], claim: Claim) -> None:
        self.withdrawn.append((held.record.key, tuple(recipients)))

    async def outcome(
        self, held: Held, recipients: Sequence[str], delivered: bool, answer: str, source: str = "", host: str = ""
    ) -> None:
        if self.fail_outcomes:
            raise self.fail_outcomes.popleft()
        if self.hold is not None:
            await self.hold.wait()
        self.outcomes.append((held.record.key, tuple(recipients), delivered, answer))
        self.places.append((source, host))

    async def purge(self, held: Held, recipients: Sequence[str], rule: str) -> None:
        if self.fail_purges:
            raise self.fail_purges.popleft()
        self.purged.append((held.record.key, tuple(recipients), rule))

    def settled(self, held: Held, recipients: Sequence[str]) -> None:
        self.ended.append((held.record.key, tuple(recipients)))

    async def tell(self, held: Held, events: Sequence[Event]) -> None:
        if self.fail_events:
            raise self.fail_events.popleft()
        self.told += [(held.record.key, each) for each in events]

    def say(self, word: Word) -> None:
        self.said.append(word)

    def listen(self, heard: Callable[[Word], None]) -> None:
        self.listeners.append(heard)
