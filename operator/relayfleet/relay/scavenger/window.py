"""How many new mails a Bulk relay may have on their way into the queue: as many as the brokers stand besides what others give them. Pure.

    a confirm whose queue (`delays`) is within the target     a place more; after the first cut one more a windowful: + 1/N for each of N
    one that waited longer, or none in time                   half as many places, but once for all that were under way

The hands that take from the queue have a size of their own, which grows by what delivery stores. Places that grew by that would be there unproven: a burst into an idle relay would meet brokers all at once.

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
LEAST_SHARE = 1 / 2
"""Of the hands. The front has two consuming lanes of a whole prefetch each, so a relay holds two rounds of its hands already, and four at the least share. What lies longer is with us for nothing: it counts a delivery more each time
that we leave (`suspects.DEADLY`), and no other relay can have it meanwhile."""
IDLE = 10.0
"""Seconds without new mail after which places begin anew: what brokers stood before says little of what they stand now."""
PERIOD, REST = 60.0, 0.25
"""Seconds: at each full minute of the wall clock all Bulk relays have one mail in flight for a moment, at the same time, since their clocks agree. So each sees the brokers
without the queue that Bulk mail makes. Else a relay that comes later takes the queue of those before it for the base and adds its target to that, so it gets several times as much as
they (LEDBAT's latecomers, for whom LEDBAT++ has its slowdowns). A quarter of a second drains the queue and forgives clocks as much."""
NEVER = float("-inf")


class Way(Enum):
    """What was confirmed: mail in the queue, new or put off, or a claim in the journal."""

    MAIL = auto()
    PUT_OFF = auto()
    CLAIM = auto()


@dataclass(slots=True)
class Window:
    """Places (`size`), with the fraction earned so far, and what hands are in proportion to, in places. Both begin small, so that the first confirms tell the base. `cut_at`: when they were cut last; times are
    those of `began` and `now`. `queue`: seconds, as it was seen last. Mail that is put off takes as long as new mail does: they have one base."""

    size: float = float(LEAST)
    hands: float = float(LEAST)
    cut_at: float = NEVER
    queue: float = 0.0
    mail: Delays = field(default_factory=Delays)
    claims: Delays = field(default_factory=Delays)

    def places(self, wall: float) -> int:
        """New mails that may be on their way, at this time (Unix seconds)."""
        return 1 if rest_left(wall) else int(self.size)

    @property
    def share(self) -> float:
        """Of the hands that take from the queue. No rest is in it: what is delivered slowly would draw that out."""
        return max(self.hands / MOST, LEAST_SHARE)

    def confirmed(self, way: Way, began: float, now: float, allowed: float = 0.0, *, in_flight: int = MOST) -> None:
        """What was sent at `began` is stored. `allowed`: seconds that its size alone may take. `in_flight`: new mails under way, this one included: places grow while at least half of them are used."""
        self.queue = (self.claims if way is Way.CLAIM else self.mail).saw(now - began, now)
        if self.queue > TARGET + allowed:
            self.failed(began, now)
        elif way is not Way.MAIL:
            self.hands = self._grown(self.hands)
        elif in_flight * 2 >= self.size:
            self.size = self._grown(self.size)

    def failed(self, began: float, now: float) -> None:
        """What was sent at `began` came late or not at all. What was sent before the last cut saw what that one was made for."""
        if began > self.cut_at:
            self.size, self.hands = (max(each / 2, float(LEAST)) for each in (self.size, self.hands))
            self.cut_at = now

    def idle(self) -> None:
        """No new mail came for `IDLE` seconds."""
        self.size = float(LEAST)

    def _grown(self, size: float) -> float:
        return min(size + (1.0 if self.cut_at == NEVER else 1 / size), float(MOST))


def rest_left(wall: float) -> float:
    """Seconds for which all rest still, at this time (Unix seconds); 0 when none does."""
    return max(REST - wall % PERIOD, 0.0)
