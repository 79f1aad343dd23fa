"""The allowances of all credentials that have limits, with the clocks: what sessions ask, what is counted, what leader and relay tell each other."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from relayfleet.protocol.relay_config import SubmissionLimit
from relayfleet.protocol.telemetry import MOST_COUNT, PoolUsage, Usage, Usages
from relayfleet.relay.server import replies
from relayfleet.relay.server.allowance import Allowance, Over
from relayfleet.relay.server.replies import Refused

DAY = 86400
PUT_BACK = 600.0
"""A clock is corrected by so many seconds at most, or it is another time altogether."""
LAPSE = 3.0
"""A leader that listens has usages asked for several times a second; after so many without, it has begun anew."""
LAG = 10.0
"""What a leader that has listened for twice as long tells of others is of the last seconds, about so many in a large pool with all credentials busy."""

_REPLIES = {Over.RATE: replies.TOO_FAST, Over.CAP: replies.DAY_IS_SPENT, Over.PENDING: replies.DAY_IS_CLAIMED}


class Claim:
    """Recipients that are set aside for one mail, until `keep` (it was accepted) or `give_back`; what comes second does nothing. Without an entry: of a
    client that has no limits."""

    def __init__(self, entry: Entry | None = None, recipients: int = 0) -> None:
        self._entry = entry
        self._recipients = recipients

    def keep(self) -> None:
        """The mail was accepted."""
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.keep(self._recipients)

    def give_back(self) -> None:
        """It was not, or not by this mail."""
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.give_back(self._recipients)


@dataclass(slots=True)
class Clocks:
    """`steady` in seconds, only goes on; `wall` in seconds since 1970, for the day."""

    steady: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    _last: int = 0

    def day(self) -> int:
        """The day by UTC, as days since 1970. A clock that is put back a little after midnight brings no yesterday back, of which the counts are gone."""
        wall = self.wall()
        if int(wall // DAY) != self._last and int((wall + PUT_BACK) // DAY) != self._last:
            self._last = int(wall // DAY)
        return self._last


@dataclass(slots=True)
class Entry:
    """One credential. `submitted`: recipients that were accepted, `limited`: mails that were refused, since the start."""

    allowance: Allowance
    clocks: Clocks
    submitted: int = 0
    limited: dict[Over, int] = field(default_factory=lambda: dict.fromkeys(Over, 0))

    def keep(self, recipients: int) -> None:
        """A mail to so many was accepted."""
        self.submitted += recipients
        self.allowance.keep(recipients, self.clocks.day())

    def give_back(self, recipients: int) -> None:
        """A mail to so many was not."""
        self.allowance.give_back(recipients, self.clocks.steady())

    def refuse(self, over: Over | None) -> None:
        """Raises Refused if a limit is in the way."""
        if over is not None:
            self.limited[over] += 1
            raise Refused(_REPLIES[over])


class Allowances:
    """By credential. `run` tells one life of this relay from the next: its counts begin anew."""

    def __init__(self, limits: Sequence[SubmissionLimit] = (), clocks: Clocks | None = None) -> None:
        self._clocks = clocks or Clocks()
        self._entries: dict[str, Entry] = {}
        self._run = secrets.token_hex(8)
        self._asked = self._led = float("-inf")
        self.configure(limits)

    def configure(self, limits: Sequence[SubmissionLimit]) -> None:
        """Other limits, from now on. A credential that keeps some keeps its counts, one that has none any more is forgotten."""
        now, known, self._entries = self._clocks.steady(), self._entries, {}
        for each in limits:
            entry = known.get(each.credential)
            if entry is None:
                entry = Entry(Allowance(each, now, self._clocks.day()), self._clocks)
            else:
                entry.allowance.configure(each, now)
            self._entries[each.credential] = entry

    def look(self, credential: str) -> None:
        """Raises Refused if not even a mail to one recipient could be taken now."""
        if entry := self._entries.get(credential):
            entry.refuse(entry.allowance.over(1, self._clocks.steady(), self._clocks.day()))

    def claim(self, credential: str, recipients: int) -> Claim:
        """Set so many aside. Raises Refused if a limit is in the way."""
        entry = self._entries.get(credential)
        if entry is None:
            return Claim()
        entry.refuse(entry.allowance.hold(recipients, self._clocks.steady(), self._clocks.day()))
        return Claim(entry, recipients)

    def usages(self) -> Usages | None:
        """What this relay tells of all credentials that have limits; None when there are none. Asked for only while a leader listens."""
        now = self._clocks.steady()
        if now - self._asked > LAPSE:
            self._led = now
        self._asked = now
        if not self._entries:
            return None
        day = self._clocks.day()
        return Usages(day, self._run, tuple(_usage(name, each, day) for name, each in self._entries.items()))

    def hear(self, told: PoolUsage) -> None:
        """What the leader says that all relays took."""
        now = self._clocks.steady()
        within = LAG if now - self._led > 2 * LAG else math.inf  # else it may be of the time without a leader
        for row in told.rows:
            if entry := self._entries.get(row.credential):
                entry.allowance.today(self._clocks.day()).hear(told.day, row.pool, row.own, now, within)

    def entries(self) -> Iterator[tuple[str, Entry, int]]:
        """Each credential with what was counted, and the recipients that the pool took today."""
        day = self._clocks.day()
        for name, entry in self._entries.items():
            yield name, entry, entry.allowance.today(day).used


def _usage(name: str, entry: Entry, day: int) -> Usage:
    today = entry.allowance.today(day)
    own, pool, counted = (min(count, MOST_COUNT) for count in (today.own, today.pool, today.counted))
    return Usage(name, own, pool, counted)
