"""When this process itself was away: stopped, swapped out, or starved of its processor.

A prober that sleeps hears no answers. What it finds when it wakes up must not look like a silence or a slowness of the relays, so
nothing is stated before the sockets were looked at, and an answer that lay waiting counts from when we fell asleep.
"""

from __future__ import annotations

import asyncio
import time

AWAY = 0.1
"""Later than this by so many seconds the event loop was away."""
_BEAT = 0.02
_BACK = 0.05
"""After a return it takes so long to look at what has come meanwhile."""


class Pulse:
    """Beats in the running loop until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = time.monotonic()
        self._left = self._returned = float("-inf")
        self._timer = self._loop.call_later(_BEAT, self._beat)

    def close(self) -> None:
        """Stop beating."""
        self._timer.cancel()

    def just_back(self, now: float) -> bool:
        """Whether what lies in the sockets may have come while we were away."""
        return now - self._last > _BEAT + AWAY or now - self._returned < _BACK

    def arrival(self, sent: float, now: float) -> float:
        """When something that is read at `now`, and was asked for at `sent`, may have arrived at the earliest by our fault."""
        left = self._last if now - self._last > _BEAT + AWAY else self._left
        return max(sent, left) if sent < now and self.just_back(now) else now

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last > _BEAT + AWAY:
            self._left, self._returned = self._last, now
        self._last = now
        self._timer = self._loop.call_later(_BEAT, self._beat)
