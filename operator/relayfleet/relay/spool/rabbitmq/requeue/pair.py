"""The two lanes of a rung, read side by side. Pure.

A late confirm leaves copies of one record in both lanes. They are told apart from the mail itself by the journal, which remembers for less
than an hour. A copy that is moved while its twin stays for hours would be delivered twice. So neither lane is read further than the other, by the time at
which records were put off, and a record is moved only when both have been read beyond that time: wherever a visit ends, both
copies are moved or neither is.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane

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
    found: deque[Found] = field(default_factory=deque)

    @property
    def reach(self) -> float:
        return math.inf if self.whole else self.horizon


class Pair:
    """How far both lanes were read. `limit`: Unix time; what was put off from then on is not meant."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._sides = {lane: _Side() for lane in LANES}

    @property
    def whole(self) -> bool:
        """Both lanes were read as far as they matter."""
        return all(each.whole for each in self._sides.values())

    def is_whole(self, lane: Lane) -> bool:
        """This one was."""
        return self._sides[lane].whole

    def read(self, lane: Lane, deferred: float, found: Found | None) -> None:
        """The next record of a lane, put off at `deferred` at the earliest; `found` if it is to be moved."""
        side = self._sides[lane]
        if found is not None:
            side.found.append(found)
        side.after = side.after + 1 if deferred >= self._limit else 0
        side.horizon = max(side.horizon, min(deferred, self._limit))
        side.whole = side.whole or side.after >= AFTER

    def end(self, lane: Lane) -> None:
        """There is no more in this lane."""
        self._sides[lane].whole = True

    def may_read(self, lane: Lane) -> bool:
        """Whether it is this lane's turn."""
        side = self._sides[lane]
        return not side.whole and side.horizon <= self._other(lane).reach

    def movable(self) -> Iterator[tuple[Lane, Found]]:
        """Those from before the time up to which both lanes were read: their twins, if there are any, are among them. Whoever takes one moves it."""
        both = min(each.reach for each in self._sides.values())
        for lane, side in self._sides.items():
            while side.found and side.found[0].deferred < both:
                yield lane, side.found.popleft()

    def _other(self, lane: Lane) -> _Side:
        return next(side for each, side in self._sides.items() if each != lane)
