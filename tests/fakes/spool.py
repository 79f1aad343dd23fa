"""A queue in memory, for unit tests of what stands before it (server) and behind it (delivery).

It keeps the promises of the interface but one: nothing survives the process. A test scripts the broker's mood with `fail_next`
and looks at what is left in `waiting`, `delayed` and `quarantined`. The real one is tested in tests/relay/spool.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from relayfleet.relay.spool.interface import SpoolError, SpoolUnavailable, Successor
from relayfleet.relay.spool.places import FRONT
from relayfleet.relay.spool.record import Record


@dataclass(eq=False, slots=True)
class MemoryHeld:
    """A record that a test took. `settled` and `released` say what was done with it."""

    spool: MemorySpool
    record: Record
    redelivered: bool = False
    deliveries: int = 1
    place: int = FRONT
    settled: bool = False
    released: bool = False

    @property
    def is_ours(self) -> bool:
        """False when it was handed to others."""
        return self in self.spool.held

    async def settle(self, successors: Sequence[Successor] = (), stored: Callable[[], None] = lambda: None) -> None:
        """Store the successors and let go, or raise what `fail_next` holds and let go of nothing."""
        if any(each.record.key == self.record.key for each in successors):
            raise ValueError(
                f"a successor of {self.record.key} has the same key: it would be taken for a copy and dropped"
            )
        await self.spool.act()
        if self not in self.spool.held:
            raise SpoolUnavailable("the record was handed to others")
        for each in successors:
            self.spool.admit(each)
        stored()
        self.spool.held.remove(self)
        self.settled = True
        self.spool.ended[self.record.key] += 1

    async def move(self, lane: int) -> None:
        """To the tail of a lane, or raise what `fail_next` holds and move nothing."""
        await self.spool.act()
        if self not in self.spool.held:
            raise SpoolUnavailable("the record was handed to others")
        self.spool.lanes.setdefault(lane, deque()).append((self.record, False))
        self.spool.wake()
        self.spool.held.remove(self)
        self.spool.ended[self.record.key] += 1

    def release(self) -> None:
        """Back to the head of its queue, marked as redelivered."""
        if self in self.spool.held:
            self.spool.held.remove(self)
            self.spool.queue(self.place).appendleft((self.record, True))
            self.spool.wake()
        self.released = True
        self.spool.ended[self.record.key] += 1


@dataclass(eq=False, slots=True)
class MemorySpool:
    """Fits `interface.Spool`. `pause` seconds stand for the confirm's way; `stored` lists every record ever put or succeeded, `ended` counts by key
    how often a record was settled or handed back."""

    pause: float = 0.0
    fail_next: deque[SpoolError] = field(default_factory=deque)
    waiting: deque[tuple[Record, bool]] = field(default_factory=deque)
    delayed: list[Successor] = field(default_factory=list)
    quarantined: list[Record] = field(default_factory=list)
    held: list[MemoryHeld] = field(default_factory=list)
    stored: list[Record] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    taking: bool = True
    closed: bool = False
    lanes: dict[int, deque[tuple[Record, bool]]] = field(default_factory=dict)
    uses_lanes: bool = False
    parks: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, record: Record) -> None:
        """Store at the tail, or raise what `fail_next` holds."""
        await self.act()
        self.admit(Successor(record))

    def queue(self, place: int) -> deque[tuple[Record, bool]]:
        """What waits in a place."""
        return self.waiting if place == FRONT else self.lanes.setdefault(place, deque())

    async def take(self, place: int = FRONT) -> MemoryHeld:
        """The head of a place's queue; waits until there is one."""
        while not (self.taking and self.queue(place)):
            changed = self._changed
            await changed.wait()
        record, redelivered = self.queue(place).popleft()
        held = MemoryHeld(self, record, redelivered, deliveries=2 if redelivered else 1, place=place)
        self.held.append(held)
        return held

    async def stop_taking(self) -> None:
        """`take` waits from now on; what is held can be settled."""
        self.taking = False

    async def resume_taking(self) -> None:
        """`take` goes on."""
        self.taking = True
        self.wake()

    async def close(self) -> None:
        """As if the connection went: everything held goes back."""
        self.closed = True
        self.taking = False
        for each in tuple(self.held):
            each.release()

    def lose_connection(self) -> None:
        """All held records are handed to others, as when the broker closes the connection: settling them raises."""
        lost, self.held = self.held, []
        for each in reversed(lost):
            self.queue(each.place).appendleft((each.record, True))
        self.wake()

    def elapse(self) -> None:
        """All delays are over: the delayed successors become ready, in the order of their delays."""
        due, self.delayed = sorted(self.delayed, key=lambda each: each.delay), []
        self.waiting.extend((each.record, False) for each in due)
        self.wake()

    async def act(self) -> None:
        """One step against the broker: the pause, and the scripted failure."""
        await asyncio.sleep(self.pause)
        if self.closed:
            raise SpoolUnavailable("the queue is closed")
        if self.fail_next:
            raise self.fail_next.popleft()

    def admit(self, successor: Successor) -> None:
        """Put a record where it belongs: quarantine, the delayed ones, or the tail."""
        self.stored.append(successor.record)
        if successor.quarantine:
            self.quarantined.append(successor.record)
        elif successor.delay > 0:
            self.delayed.append(successor)
        else:
            self.waiting.append((successor.record, False))
            self.wake()

    def wake(self) -> None:
        """Let the takers look again, all of them."""
        self._changed.set()
        self._changed = asyncio.Event()
