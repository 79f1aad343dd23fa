"""When which rung of the ladder is looked through. Pure; times are Unix seconds.

A rung is looked through as soon as an order's moment has come, and again until nothing on it can be from before that moment: then a relay that
starts tomorrow has nothing to do, without knowing what was done. Again, since a visit may miss mail: what may not be tried yet, what
a relay with a wrong clock put off, what lay behind too much other mail.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

SHORTEST_RUNG = 240
"""Seconds. What waits on a lower one comes by itself within two and a half minutes."""
SLOWEST = 1.2
"""Times a rung's length is what its slower lane waits."""
LATE = 300.0
"""Seconds for which the ladder may give a record back too late: a new leader, a restart of all brokers."""
AT_ONCE = 5.0
"""Seconds before a visit that was cut short, but moved something, goes on."""
STUCK = 300.0
"""Seconds at most before the next visit, when one was cut short and moved nothing: there is no room, or too much other mail lies before it."""
SELDOM = 60.0
_OFTEN = 8
_SHARE, _LONGEST = 10, 120.0


@dataclass(frozen=True, slots=True)
class Visited:
    """What came of a visit: mails looked at and moved; `whole`: nothing from before the moment was left unseen."""

    looked: int
    moved: int
    whole: bool


@dataclass(slots=True)
class _Visit:
    began: float
    again: float


def visit_seconds(rung: int) -> float:
    """For how long a visit may keep a rung's mail in its hands: what comes due meanwhile is late by that, which is less than the jitter of retries."""
    return min(rung / _SHARE, _LONGEST)


@dataclass(slots=True)
class Plan:
    """Which rung is to be visited next. `ladder`: the pool's rungs in seconds."""

    ladder: tuple[int, ...]
    _moments: Collection[float] = ()
    _visits: dict[int, _Visit] = field(default_factory=dict)

    def follow(self, moments: Collection[float]) -> None:
        """Other orders, with these moments: all is to be looked through for them."""
        self._moments = moments
        self._visits.clear()

    def limit(self, now: float) -> float:
        """The latest moment that has come: what was put off after it is not meant by anybody."""
        return max((each for each in self._moments if each <= now), default=-math.inf)

    def next_at(self, now: float) -> float:
        """When the next visit is due; infinity: never."""
        return min((self._due_at(each, now) for each in self.ladder), default=math.inf)

    def due(self, now: float) -> int | None:
        """The rung that should be visited now."""
        waiting = [(at, rung) for rung in self.ladder if (at := self._due_at(rung, now)) <= now]
        return min(waiting)[1] if waiting else None

    def visited(self, rung: int, began: float, now: float, found: Visited | None) -> None:
        """A visit has ended; `found` None: by a fault."""
        self._visits[rung] = _Visit(began, now + _pause(rung, found))

    def _due_at(self, rung: int, now: float) -> float:
        if rung < SHORTEST_RUNG:
            return math.inf
        moments = [each for each in self._moments if now < each + rung * SLOWEST + LATE]
        visit = self._visits.get(rung)
        if visit is None:
            return min(moments, default=math.inf)
        return min((visit.again if each <= visit.began else each for each in moments), default=math.inf)


def _pause(rung: int, found: Visited | None) -> float:
    """Seconds until the next visit: soon while there is something to do, and else seldom."""
    if found is None or (found.moved and not found.whole):
        return AT_ONCE
    if not found.whole:
        return min(rung / 2, STUCK)
    return max(rung / _OFTEN, SELDOM)
