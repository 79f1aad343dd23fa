"""The two names that a prober has for its canaries of one broker, and which of them to use.

After a trouble the canary may be led by another broker: it would hang with that one, and blame this one. So when the trouble is over the
prober moves to its other name, and has a new canary made where it looks. If that does not work (another broker stands still, say), it stays for
a while.
"""

from __future__ import annotations

from relayfleet.observe.probing.canary import EXPIRES

LONG = 1.0
"""A trouble of so many seconds may have made another broker the leader."""
PATIENCE = 60.0
"""Between two attempts to move."""
MARGIN = 10.0
"""A lease that ends in so many seconds is not relied on."""


class Perches:
    """Times are those of one monotonic clock, in seconds."""

    def __init__(self, name: str) -> None:
        self._names = (f"{name}a", f"{name}b")
        self._here = 0
        self._leases: dict[str, float] = {}
        self._moves_at: float | None = None

    @property
    def name(self) -> str:
        """The present one."""
        return self._names[self._here]

    @property
    def other(self) -> str:
        """The one to move to."""
        return self._names[1 - self._here]

    def made(self, now: float) -> bool:
        """Whether the present canary should be there."""
        return now < self._leases.get(self.name, now)

    def should_move(self, now: float) -> bool:
        """Whether now is the time to move."""
        return self._moves_at is not None and now >= self._moves_at

    def sits(self, now: float) -> None:
        """The present canary was made, or its lease renewed."""
        self._leases[self.name] = now + max(EXPIRES - MARGIN, EXPIRES / 2)

    def gone(self) -> None:
        """The present canary is not there."""
        self._leases.pop(self.name, None)

    def moved(self, now: float) -> None:
        """The other one is the present one from now on."""
        self._here, self._moves_at = 1 - self._here, None
        self.sits(now)

    def stays(self, now: float) -> None:
        """It could not be moved."""
        self._moves_at = now + PATIENCE

    def trouble_over(self, lasted: float, now: float) -> None:
        """The broker confirms again."""
        if lasted >= LONG:
            self._moves_at = now
