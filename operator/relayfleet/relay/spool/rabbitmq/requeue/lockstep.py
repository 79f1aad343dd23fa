"""The queues of a rung, read in lockstep. Pure.

A late confirm leaves a copy of a record in another queue than its own. Copies are told apart from the mail itself by the journal, which remembers for an
hour. A copy that is moved while its twin stays for hours would be delivered twice. So no queue is read further than the others, by the time at
which records were put off, and a record is moved only when all have been read beyond that time: wherever a visit ends, all
copies are moved or none is.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

AFTER = 100
"""So many records in a row that are from after the limit: the rest is too. One alone may be of a relay with a wrong clock."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record that is to be moved: as it came, with its delivery's tag and the name of the rule. `deferred`: when it was put off, at the latest."""

    tag: int
    body: bytes = field(repr=False)
    message_id: str
    deferred: float
    rule: str


@dataclass(slots=True)
class _Side:
    horizon: float = -math.inf
    whole: bool = False
    after: int = 0

    @property
    def reach(self) -> float:
        return math.inf if self.whole else self.horizon


class Lockstep:
    """How far each of the queues was read. `limit`: Unix time; what was put off from then on is not meant."""

    def __init__(self, queues: Iterable[str], limit: float) -> None:
        self._limit = limit
        self._sides = {each: _Side() for each in queues}
        self._found: list[tuple[float, str, int, Found]] = []

    @property
    def whole(self) -> bool:
        """All queues were read as far as they matter."""
        return all(each.whole for each in self._sides.values())

    def is_whole(self, queue: str) -> bool:
        """This one was."""
        return self._sides[queue].whole

    def read(self, queue: str, deferred: float, found: Found | None) -> None:
        """The next record of a queue, put off at `deferred` at the earliest; `found` if it is to be moved."""
        side = self._sides[queue]
        if found is not None:
            heapq.heappush(self._found, (found.deferred, queue, found.tag, found))
        side.after = side.after + 1 if deferred >= self._limit else 0
        side.horizon = max(side.horizon, min(deferred, self._limit))
        side.whole = side.whole or side.after >= AFTER

    def end(self, queue: str) -> None:
        """There is no more in this queue, or no such queue."""
        self._sides[queue].whole = True

    def may_read(self, queue: str) -> bool:
        """Whether it is this queue's turn: none was read less far."""
        side = self._sides[queue]
        return not side.whole and side.horizon <= self._reach

    def movable(self) -> Iterator[tuple[str, Found]]:
        """Those from before the time up to which all queues were read, the oldest first: their twins, if there are any, are next to them. Whoever takes
        one moves it."""
        while self._found and self._found[0][0] < self._reach:
            _, queue, _, found = heapq.heappop(self._found)
            yield queue, found

    @property
    def _reach(self) -> float:
        return min(each.reach for each in self._sides.values())
