"""What all relays of a pool accepted from a credential on one day, from what each says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Count:
    """What a relay says: recipients that it accepted (`own`) in this life (`run`), and what it was told last: `pool` of all relays, `counted` of them its
    own."""

    run: str
    own: int
    pool: int = 0
    counted: int = 0


@dataclass(slots=True)
class Tab:
    """The sum. Relays that are gone stay in it.

    A relay that this leader hears for the first time brings along what the last leader knew (`pool`, the same for all but for the last second, so the
    largest counts) and what it has accepted since (which only it knows, so all of that counts). From then on its growth counts.
    """

    before: int = 0
    since: int = 0
    _known: dict[str, Count] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Recipients of all relays."""
        return self.before + self.since

    def take(self, relay: str, count: Count) -> None:
        """A relay's word."""
        known = self._known.get(relay)
        if known is None or known.run != count.run:
            self.before = max(self.before, count.pool)
            self.since += max(0, count.own - count.counted)
        else:
            # Less than before: it forgot the credential meanwhile, and began anew.
            self.since += count.own - (known.own if known.own <= count.own else 0)
        self._known[relay] = count

    def leave(self, relay: str) -> None:
        """It is gone for good; what it accepted stays."""
        self._known.pop(relay, None)

    def own(self, relay: str, run: str) -> int | None:
        """How much of the sum is this life's of a relay; None before its first word: what it would be told now it would bring along as another
        leader's."""
        known = self._known.get(relay)
        return known.own if known is not None and known.run == run else None
