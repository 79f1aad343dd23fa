"""How soon to connect again after a session was refused or reset: often at first, since twice is final, then no more than usual."""

from __future__ import annotations

from relayfleet.observe.probing.surroundings import BURST_GAP

_CLOSELY_FOR = 1.0


class Trouble:
    """Lasts from the first failure until a session answers again."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._since: float | None = None

    def wait(self, now: float, *, at_once: bool) -> float:
        """Seconds until the next attempt; the first after a reset is made at once."""
        if self._since is None:
            self._since = now
            return 0.0 if at_once else BURST_GAP
        return BURST_GAP if now - self._since < _CLOSELY_FOR else max(BURST_GAP, self._interval)

    def over(self) -> None:
        """A session works."""
        self._since = None
