"""What the journal says about each recipient of each record, as read so far. Pure.

The stream has one order, the same for all readers, so all relays come to the same answer: a claim is granted when, at its place in the
stream, none of its recipients was delivered to, or purged, or is claimed by another relay. Of two relays with copies of one record exactly one gets it.

A relay that gives a claim up before its dot withdraws it, by its number: a claim of its own that it made meanwhile stands.

Compact: one number a recipient, under a 64-bit keyed hash of record and recipient, in generations of five minutes that are forgotten whole
after `KEEP` seconds, which is longer than the ten minutes that a final answer can take and than a claim can be held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from relayfleet.relay.spool.interface import Seen
from relayfleet.relay.spool.rabbitmq.entries import Entry

KEEP = 40 * 60.0
GENERATION = 5 * 60.0
MOST = 3_000_000
"""Recipients remembered at most, about 300 MB; beyond that the oldest generation is forgotten early."""

_DONE, _REFUSED = -1, -2
_NUMBER_BITS = 40
"""A claimed recipient has the holder's index above so many bits, and the claim's number in them."""


class Ledger:
    """Apply the entries in the order of the stream; ask at any time."""

    def __init__(self) -> None:
        self._generations: deque[tuple[float, dict[int, int]]] = deque()
        self._holders: dict[str, int] = {}

    def apply(self, entry: Entry, now: float) -> bool:
        """Take one entry in; for a claim, whether it is granted. `now` is the reader's own monotonic clock: a relay whose clock is wrong makes
        nobody forget anything."""
        slots = [_slot(entry.key, each) for each in entry.recipients]
        if entry.kind == "mark":
            return True
        newest = self._newest(now)
        if entry.kind == "outcome":
            newest.update(dict.fromkeys(slots, _DONE if entry.delivered else _REFUSED))
            return True
        if entry.kind == "purge":  # who has claimed a copy says himself what becomes of it
            newest.update((slot, _DONE) for slot in slots if self._state(slot) in (None, _REFUSED))
            return True
        holder = self._holders.setdefault(entry.holder, len(self._holders))
        claim = holder << _NUMBER_BITS | entry.number
        if entry.kind == "withdrawal":
            newest.update((slot, _REFUSED) for slot in slots if self._state(slot) == claim)
            return True
        granted = all(self._is_free(slot, holder) for slot in slots)
        if granted:
            newest.update(dict.fromkeys(slots, claim))
        return granted

    def seen(self, key: str, recipients: Iterable[str], earlier: Sequence[str] = ()) -> Seen:
        """Who of the recipients was delivered to or purged, and who is claimed without an outcome.

        `earlier` are the keys that this record goes on from. Of two copies of a record one may be delivered while the other, at another
        relay, is deferred: its successor has a new key, and only the old one tells that the mail has arrived.
        """
        states = {each: self._state(_slot(key, each)) for each in recipients}
        delivered = frozenset(
            each
            for each, state in states.items()
            if state == _DONE or any(self._state(_slot(old, each)) == _DONE for old in earlier)
        )
        uncertain = frozenset(each for each, state in states.items() if state is not None and state >= 0) - delivered
        return Seen(delivered, uncertain)

    def _state(self, slot: int) -> int | None:
        for _, states in reversed(self._generations):
            if (state := states.get(slot)) is not None:
                return state
        return None

    def _is_free(self, slot: int, holder: int) -> bool:
        state = self._state(slot)
        return state in (None, _REFUSED) or (state is not None and state >= 0 and state >> _NUMBER_BITS == holder)

    def _newest(self, now: float) -> dict[int, int]:
        if not self._generations or now - self._generations[-1][0] > GENERATION:
            self._generations.append((now, {}))
        while len(self._generations) > 1 and self._too_much(now):
            self._generations.popleft()
        return self._generations[-1][1]

    def _too_much(self, now: float) -> bool:
        began = self._generations[1][0]
        return now - began > KEEP or sum(len(states) for _, states in self._generations) > MOST


def _slot(key: str, recipient: str) -> int:
    return hash(f"{key} {recipient}")
