"""The records under way, each with its task, and which of them may still be handed back without a trace.

A record is *begun* when the first transaction with a peer is, or its end is being stored: from then on it is finished here. Before that
nobody outside knows that we had it, and another relay may as well take it.

Each place has hands of its own, so that what is slow to go from one of them keeps nobody from taking from another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from relayfleet.relay.spool.interface import Held
from relayfleet.relay.spool.places import FRONT, LANED

LANE_HANDS = 128
"""Records of one lane, or of those that are looked at."""


@dataclass(eq=False, slots=True)
class Share:
    """The hands of one place: `part` of `most`. `bound`: how many of its records lead to which lane, as far as that was asked; `looking`: how many only wait for what the
    journal says; `room` is set while one more may be taken."""

    most: int
    part: float = 1.0
    taken: int = 0
    looking: int = 0
    bound: Counter[int] = field(default_factory=Counter)
    room: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def limit(self) -> int:
        """How many there are now, at least one: mail goes on."""
        return max(int(self.most * self.part), min(self.most, 1))

    def count(self, more: int = 0) -> None:
        """So many more are under way."""
        self.taken += more
        if self.taken < self.limit:
            self.room.set()
        else:
            self.room.clear()

    def crowded_by(self, lane: int) -> bool:
        """Whether mail of this lane has more hands here than half of those that are free. So any number of slow providers leaves room for others. Those that
        are spared for the brokers count as free: moving mail would cost these more."""
        return self.bound[lane] * 2 > max(self.most - self.taken, 0)


class Hands:
    """`most`: how many records of the front may be under way."""

    def __init__(self, most: int) -> None:
        self._shares = {FRONT: Share(most), **{each: Share(LANE_HANDS) for each in LANED}}
        self._tasks: dict[asyncio.Task[None], Held] = {}
        self._bound: dict[Held, int] = {}
        self._begun: set[Held] = set()
        for each in self._shares.values():
            each.count()

    def __len__(self) -> int:
        return len(self._tasks)

    def of(self, place: int) -> Share:
        """Those for records of one place."""
        return self._shares[place]

    def limit(self, most: int) -> None:
        """Another bound for the front from now on."""
        front = self._shares[FRONT]
        front.most = most
        front.count()

    def yield_to(self, part: float) -> None:
        """So much of all hands from now on, 1 is all of them; what is under way goes on. The others are the brokers' to spare."""
        for each in self._shares.values():
            each.part = part
            each.count()

    def take(self, held: Held, work: Coroutine[Any, Any, None]) -> None:
        """Do the work on a record in a task of its own; cancelled, it hands the record back."""
        task = asyncio.create_task(work)
        self._tasks[task] = held
        task.add_done_callback(self._finished)
        self._shares[held.place].count(1)

    def bind(self, held: Held, lane: int) -> None:
        """It leads to this lane, and is delivered from where it is."""
        if held not in self._bound:
            self._bound[held] = lane
            self._shares[held.place].bound[lane] += 1

    def begin(self, held: Held) -> None:
        """From now on the record is finished here."""
        self._begun.add(held)

    def end(self, held: Held) -> None:
        """It is settled or handed back."""
        self._begun.discard(held)
        if (lane := self._bound.pop(held, None)) is not None:
            self._shares[held.place].bound[lane] -= 1

    async def give_back(self) -> int:
        """Hand back what is not begun, and return how many records those were."""
        # A task that is cancelled before its first step would never come to hand its record back.
        await asyncio.sleep(0)
        tasks = [task for task, held in self._tasks.items() if held not in self._begun]
        await _cancelled(tasks)
        return len(tasks)

    async def finish(self, grace: float) -> None:
        """Let what is under way finish for so many seconds, then hand back the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        await _cancelled(list(self._tasks))

    def _finished(self, task: asyncio.Task[None]) -> None:
        held = self._tasks.pop(task)
        self._shares[held.place].count(-1)


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
