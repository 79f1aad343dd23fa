"""When this process itself was away: stopped, starved of its processor, or held up by its own work.

Whoever sleeps hears no answers. What a relay misses meanwhile is not the fault of brokers, resolvers and peers, and a relay whose loop is
always late has too much to do.
"""

from __future__ import annotations

import asyncio
from collections import deque

BEAT = 0.05
REMEMBERED = 5.0
"""Seconds for which lateness is remembered."""


class Pulse:
    """Beats in the running loop until `close`; lateness is in seconds of the loop's clock."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._late: deque[tuple[float, float]] = deque(maxlen=int(REMEMBERED / BEAT))
        self._due = self._loop.time() + BEAT
        self._timer = self._loop.call_at(self._due, self._beat)

    def close(self) -> None:
        """Stop beating."""
        self._timer.cancel()

    def lag(self, within: float) -> float:
        """The longest that the loop was late within the last so many seconds, this moment included: a pause that has just ended may not
        have come to our beat yet."""
        now = self._loop.time()
        late = (lag for at, lag in self._late if now - at <= within)
        return max(now - self._due, max(late, default=0.0), 0.0)

    def mean(self, within: float) -> float:
        """How late the loop was on the average of its beats within the last so many seconds."""
        now = self._loop.time()
        late = [lag for at, lag in self._late if now - at <= within]
        return sum(late) / len(late) if late else 0.0

    def _beat(self) -> None:
        now = self._loop.time()
        self._late.append((now, now - self._due))
        self._due = now + BEAT
        self._timer = self._loop.call_at(self._due, self._beat)
