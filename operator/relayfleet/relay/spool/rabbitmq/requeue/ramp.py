"""How many parked mails a visit may release to a destination that answers again: few at first, and each time twice as many. Pure.

A destination that fails again is not released any more, and begins anew when it answers the next time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relayfleet.relay.spool.interface import Hosts

FIRST, MOST = 10, 2000
"""Mails of one destination in the first visit, and in any."""
FEWEST = 3
"""Visits that find no mail before there is none: one alone may not have known yet where mail leads."""


@dataclass(slots=True)
class _Release:
    """`since`: when the destination answered; `left`: mails that may still go in this visit; `found`: any in this visit; `quiet`: visits without any since."""

    since: float
    visits: int = 0
    left: int = 0
    found: bool = False
    quiet: int = 0

    def begin(self) -> None:
        self.left, self.found = min(FIRST * 2 ** min(self.visits, 16), MOST), False


class Ramp:
    """Of one relay that releases. Another one that goes on begins with few again."""

    def __init__(self) -> None:
        self._releases: dict[Hosts, _Release] = {}

    def follow(self, due: Mapping[Hosts, float]) -> bool:
        """What is to be released now, and since when it is up (any clock); whether anything is left to do."""
        known = self._releases
        self._releases = {
            each: known[each] if each in known and known[each].since == since else _Release(since)
            for each, since in due.items()
        }
        return any(each.quiet < FEWEST for each in self._releases.values())

    def begin(self) -> None:
        """A visit begins."""
        for each in self._releases.values():
            each.begin()

    def takes(self, destination: Hosts) -> bool:
        """Whether one more mail of it goes now."""
        release = self._releases.get(destination)
        if release is None:
            return False
        release.found = True
        release.left -= 1
        return release.left >= 0

    @property
    def has_left(self) -> bool:
        """Whether this visit may still release anything. It does not read on for those that seem to have none."""
        return any(each.left > 0 and each.quiet < FEWEST for each in self._releases.values())

    @property
    def has_found(self) -> bool:
        """Whether this visit has met any."""
        return any(each.found for each in self._releases.values())

    def ended(self, *, whole: bool) -> None:
        """The visit is over; `whole`: nothing was left unseen that a visit can see."""
        for each in self._releases.values():
            each.visits += each.found
            each.quiet = 0 if each.found else each.quiet + whole
