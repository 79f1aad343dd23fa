"""How much one credential may still submit: recipients a minute (a bucket that fills steadily) and recipients a day. No clock, no I/O.

What a transaction asks for is held when its message may come, kept when the mail is accepted, and given back when it is not. The limits are
of the whole pool: what other relays took is told by the leading operator, and lies behind by about a second. `now` is in seconds by a clock
that only goes on, `day` a number that is another one each day.
"""

from __future__ import annotations

import enum
import math

from relayfleet.protocol.relay_config import SubmissionLimit

MINUTE = 60.0
OWED = 5
"""So many minutes' worth at most are owed for what others took: relays that were without a leader for hours would let nothing through for hours."""


class Over(enum.Enum):
    """Which limit a mail is over. Pending: the day's, if all mails that are under way are accepted."""

    RATE = "Rate"
    CAP = "Cap"
    PENDING = "Pending"


class Allowance:
    """Of one credential. `own`: recipients that were accepted here today; `pool`: those of all relays as last told, `counted` of them ours."""

    def __init__(self, limit: SubmissionLimit, now: float, day: int) -> None:
        self._limit = limit
        self._level = float(limit.per_minute or 0)
        self._at = now
        self._held = 0
        self._spilt = 0.0
        self._told = False
        self._begin(day)

    def configure(self, limit: SubmissionLimit, now: float) -> None:
        """Go on under another limit: what was taken stays taken. For a lower rate, too, no more is owed than some minutes' worth of it."""
        self._fill(now)
        if limit.per_minute == self._limit.per_minute:
            self._limit = limit
            return
        rate = float(limit.per_minute or 0)
        self._level = rate if self._limit.per_minute is None else max(self._level, -OWED * rate)
        self._limit = limit
        self._fill(now)
        self._spilt = 0.0

    def over(self, recipients: int, now: float, day: int) -> Over | None:
        """Which limit a mail to so many would be over. The day goes first: who is over it need not try again.

        For the minute one recipient that is left is enough, and the rest is owed: else a mail to many would never have its turn beside mails to one, and
        one to more than there are in a minute none at all.
        """
        self._turn(day)
        cap = self._limit.per_day
        if cap is not None and self.used + self._held + recipients > cap:
            return Over.CAP if self.used + recipients > cap else Over.PENDING
        self._fill(now)
        return Over.RATE if self._limit.per_minute is not None and self._level < 1.0 else None

    def hold(self, recipients: int, now: float, day: int) -> Over | None:
        """Set so many aside if no limit is in the way; `keep` or `give_back` has to follow."""
        if over := self.over(recipients, now, day):
            return over
        self._held += recipients
        self._level -= recipients
        return None

    def keep(self, recipients: int, day: int) -> None:
        """The mail was accepted."""
        self._turn(day)
        self._held -= recipients
        self.own += recipients

    def give_back(self, recipients: int, now: float) -> None:
        """It was not."""
        self._held -= recipients
        self._level += recipients
        self._fill(now)

    def hear(self, day: int, pool: int, counted: int, now: float, within: float = math.inf) -> None:
        """What all relays took on this day, and how much of it is ours, told `within` so many seconds. The first word of a day says what was before: that
        was another minute's."""
        if day != self.day:
            return
        before = self.others
        self.pool, self.counted = pool, counted
        if self._told:
            self._charge(max(0, self.others - before), now, within)
        self._told = True

    @property
    def others(self) -> int:
        """Recipients that other relays took today, as far as is known."""
        return max(0, self.pool - self.counted)

    @property
    def used(self) -> int:
        """Recipients that the pool took today, as far as is known."""
        return self.own + self.others

    def today(self, day: int) -> Allowance:
        """Itself, with the counts of this day."""
        self._turn(day)
        return self

    def _charge(self, recipients: int, now: float, within: float) -> None:
        """Others took these within so many seconds: first out of what ran over here meanwhile, as it would have if the bucket were one."""
        self._fill(now)
        rate = float(self._limit.per_minute or 0)
        spilt = min(self._spilt, within * rate / MINUTE) if rate else 0.0
        self._level = max(min(self._level, -OWED * rate), self._level - max(0.0, recipients - spilt))
        self._spilt = 0.0

    def _fill(self, now: float) -> None:
        rate = float(self._limit.per_minute or 0)
        level = self._level + max(0.0, now - self._at) * rate / MINUTE
        self._level = min(rate, level)
        self._spilt += level - self._level
        self._at = max(now, self._at)

    def _turn(self, day: int) -> None:
        if day != self.day:
            self._begin(day)

    def _begin(self, day: int) -> None:
        self.day = day
        self.own = self.pool = self.counted = 0
        self._told = False
