"""How many new mails a Bulk relay may have on their way into the queue: as many as the brokers stand besides what others give them. Pure.

    a confirm whose queue (`delays`) is within the target     a place more; after the first cut one more a windowful: + 1/N for each of N
    one that waited longer, or none in time                   half as many places, but once for all that were under way

Nobody is asked and nobody tells: the brokers' queue is the same for all pools, so whoever looks at it sees the others. A Transactional pool does not look,
and so has the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from relayfleet.relay.scavenger.delays import Delays

LEAST, MOST = 2, 64
"""Places. The least is RFC 6817's MIN_CWND: one on its way and one behind it, so mail goes on however slow the brokers are. With the most a healthy cluster
is busy: three nodes gave three quarters of their confirms a second to as many as a hundred in flight."""
TARGET = 0.025
"""Seconds of queue that Bulk may add. RFC 6817 allows 100 ms at most, of which a person on the phone hears nothing. A Transactional mail meets the queue three times one after the other
(the confirm of its record, that of its claim, that of its outcome), so a quarter of it keeps what all Bulk mail costs it below 100 ms. It is far above a fsync, and far below the 400 ms after which a relay
doubts a broker."""
LEAST_SHARE = 1 / 8
"""Of the hands: receivers that take half a minute for a mail must not keep all of them busy."""
PERIOD, REST = 60.0, 0.25
"""Seconds: at each full minute of the wall clock all Bulk relays have one mail in flight for a moment, at the same time, since their clocks agree. So each sees the brokers
without the queue that Bulk mail makes. Else a relay that comes later takes the queue of those before it for the base and adds its target to that, so it gets several times as much as
they (LEDBAT's latecomers, for whom LEDBAT++ has its slowdowns). A quarter of a second drains the queue and forgives clocks as much."""
NEVER = float("-inf")


class Way(Enum):
    """What was confirmed: mail in the queue, new or put off, or a claim in the journal."""

    MAIL = auto()
    CLAIM = auto()


@dataclass(slots=True)
class Window:
    """Places, with the fraction earned so far. It begins small, so that the first confirms tell the base. `cut_at`: when it was cut last; times are those of `began`
    and `now`. `queue`: seconds, as it was seen last."""

    size: float = float(LEAST)
    cut_at: float = NEVER
    queue: float = 0.0
    delays: dict[Way, Delays] = field(default_factory=lambda: {each: Delays() for each in Way})

    def places(self, wall: float) -> int:
        """New mails that may be on their way, at this time (Unix seconds)."""
        return 1 if wall % PERIOD < REST else int(self.size)

    @property
    def share(self) -> float:
        """Of the hands that take from the queue. No rest is in it: what is delivered slowly would draw that out."""
        return max(self.size / MOST, LEAST_SHARE)

    def confirmed(self, way: Way, began: float, now: float, allowed: float = 0.0) -> None:
        """What was sent at `began` is stored. `allowed`: seconds that its size alone may take."""
        self.queue = self.delays[way].saw(now - began, now)
        if self.queue <= TARGET + allowed:
            self.size = min(self.size + (1.0 if self.cut_at == NEVER else 1 / self.size), float(MOST))
        else:
            self.failed(began, now)

    def failed(self, began: float, now: float) -> None:
        """What was sent at `began` came late or not at all. What was sent before the last cut saw what that one was made for."""
        if began > self.cut_at:
            self.size, self.cut_at = max(self.size / 2, float(LEAST)), now
