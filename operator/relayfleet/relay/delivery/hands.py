"""The records under way, each with its task, and which of them may still be handed back without a trace.

A record is *begun* when the first transaction with a peer is, or its end is being stored: from then on it is finished here. Before that
nobody outside knows that we had it, and another relay may as well take it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from relayfleet.relay.spool.interface import Held


class Hands:
    """`most`: how many records may be under way; `room` is set while there are fewer."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: dict[asyncio.Task[None], Held] = {}
        self._begun: set[Held] = set()
        self.room = asyncio.Event()
        self.room.set()

    def __len__(self) -> int:
        return len(self._tasks)

    def limit(self, most: int) -> None:
        """Another bound from now on."""
        self._most = most
        self._make_room()

    def take(self, held: Held, work: Coroutine[Any, Any, None]) -> None:
        """Do the work on a record in a task of its own; cancelled, it hands the record back."""
        task = asyncio.create_task(work)
        self._tasks[task] = held
        task.add_done_callback(self._finished)
        self._make_room()

    def begin(self, held: Held) -> None:
        """From now on the record is finished here."""
        self._begun.add(held)

    def end(self, held: Held) -> None:
        """It is settled or handed back."""
        self._begun.discard(held)

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
        del self._tasks[task]
        self._make_room()

    def _make_room(self) -> None:
        if len(self._tasks) < self._most:
            self.room.set()
        else:
            self.room.clear()


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
