"""How long confirms wait at the brokers beyond what they take anyway, in seconds. Pure.

As LEDBAT has it (RFC 6817): the *base* is the shortest time of recent minutes, which is what a confirm takes when nothing stands before it, and what it takes
longer than that is the queue at the brokers, whoever filled it. The shortest of the last few times counts as now's: one fsync that is slow is no queue.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

HISTORY = 10
"""Minutes of the base: RFC 6817's BASE_HISTORY. Brokers that have become slower for good are believed after so long, those that have become faster at once."""
FILTER = 4
"""Times of which the shortest counts: with fewer in flight than that a window could not tell a queue from a hiccup any sooner."""


@dataclass(slots=True)
class Delays:
    """Of one kind of confirm: each has a base of its own. `minutes`: the shortest time of each, with the number of the minute."""

    minutes: deque[tuple[int, float]] = field(default_factory=deque)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=FILTER))

    def saw(self, seconds: float, now: float) -> float:
        """A confirm took so long, `now` by any clock that does not jump: how much of that was the queue, as far as can be told."""
        self._remember(seconds, int(now // 60))
        self.recent.append(seconds)
        return max(min(self.recent) - self.base, 0.0)

    @property
    def base(self) -> float:
        """What a confirm takes without a queue; 0 while nothing is known."""
        return min((shortest for _, shortest in self.minutes), default=0.0)

    def _remember(self, seconds: float, minute: int) -> None:
        minutes = self.minutes
        if minutes and minutes[-1][0] == minute:
            minutes[-1] = (minute, min(minutes[-1][1], seconds))
        else:
            minutes.append((minute, seconds))
        while minutes[0][0] <= minute - HISTORY:
            minutes.popleft()
