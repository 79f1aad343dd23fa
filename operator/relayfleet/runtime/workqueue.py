"""A queue of names to look at: the bridge from edge-triggered events to level-triggered work.

A name is worked on by one worker at a time. Names added while they are worked on are worked on once more afterwards; a hundred
events about one name are one piece of work. A failure comes back with exponential backoff, and every name also comes back by itself
when its work asked for it, so that a lost event is healed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relayfleet.kube.errors import KubeConflict, KubeError, NotLeader

log = logging.getLogger(__name__)

FIRST_BACKOFF, LONGEST_BACKOFF = 0.2, 30.0
NOT_LEADING = 0.5
"""Seconds until the next try without the lease. It does not grow: an operator that was starved for a moment, and has its lease again, may have
a cordon to write."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What to look at: a kind and one object of it."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


Work = Callable[[Key], Awaitable[float | None]]
"""Does the work for a key; returns the seconds after which it wants to look again, None for only when called."""


class WorkQueue:
    """Runs `work` for each key that is added, with at most `workers` at a time."""

    def __init__(self, work: Work, workers: int = 8) -> None:
        self._work = work
        self._workers = workers
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self.done = 0
        self.failed = 0

    def add(self, key: Key) -> None:
        """Look at `key` soon."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def __len__(self) -> int:
        return len(self._queued) + len(self._busy)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._busy.add(key)
            try:
                delay = await self._once(key)
            finally:
                self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None:
                self._later(key, delay)

    async def _once(self, key: Key) -> float | None:
        try:
            delay = await self._work(key)
        except Exception as error:
            self.failed += 1
            delay = NOT_LEADING if isinstance(error, NotLeader) else self._backoff(key)
            _report(key, error, delay)
            return delay
        self.done += 1
        self._failures.pop(key, None)
        return delay

    def _backoff(self, key: Key) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(failures, 20)) * random.uniform(0.8, 1.2)  # noqa: S311

    def _later(self, key: Key, delay: float) -> None:
        if key not in self._queued and key not in self._timers:
            self._timers[key] = asyncio.get_running_loop().call_later(delay, self._wake, key)

    def _wake(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)


def _report(key: Key, error: Exception, delay: float) -> None:
    if isinstance(error, (KubeConflict, NotLeader)):
        log.info("%s: %s; again in %.1f s", key, error, delay)
    elif isinstance(error, KubeError):
        log.warning("%s: %s; again in %.1f s", key, error, delay)
    else:
        log.exception("%s: unexpected error; again in %.1f s", key, delay, exc_info=error)
