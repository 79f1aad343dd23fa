"""How fast waiting mail is looked through and moved. Pure; times are monotonic seconds."""

from __future__ import annotations

RATE = 2000.0
"""Points a second. One is a look."""
MOVE = 4.0
"""What it costs besides to move a mail: at most 400 a second."""
BYTES = 16 * 1024
"""So many bytes of a mail cost a point: at most 32 MiB a second."""
_BURST = 0.1


class Pace:
    """Points that come at a steady rate. They may be overspent, and then nothing is to be begun until that is made up for."""

    def __init__(self, now: float) -> None:
        self._points = RATE * _BURST
        self._at = now

    def look(self, size: int) -> None:
        """A mail of `size` bytes was looked at."""
        self._points -= 1.0 + size / BYTES

    def move(self) -> None:
        """It is moved."""
        self._points -= MOVE

    def wait(self, now: float) -> float:
        """Seconds until the next look; 0.0: at once."""
        self._points = min(self._points + (now - self._at) * RATE, RATE * _BURST)
        self._at = now
        return max(-self._points / RATE, 0.0)
