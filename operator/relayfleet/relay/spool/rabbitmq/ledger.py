"""What the journal says about each recipient of each record, as read so far. Pure.

The stream has one order, the same for all readers, so all relays come to the same answer: a claim is granted when, at its place in the
stream, none of its recipients was delivered to, or purged, or settled, or is claimed by another relay. Of two relays with copies of one record exactly
one gets it.

Claims are on one copy, by its key. So is that it is settled: what becomes of its recipients is stored, as a successor for instance, and a copy under the same
key that comes later has nothing to add. Otherwise each would go on by itself, and what the one delivers be tried by the other when nobody remembers it. That a recipient is done holds for the record, by its id: copies of it that went other ways (one was held, another
deferred; one was looked at more often) have keys of which none follows from the other, and nobody may get the mail twice. Ids are unique, and what is
sent of its own accord, such as a report, has one of its own.

A relay that gives a claim up before its dot withdraws it, by its number: a claim of its own that it made meanwhile stands.

When the stream was cut back, those who read it anew have one order again, and only that decides claims. What the ledger of before knew is asked besides, as
long as it is of use: that somebody was delivered to is true, whether the stream still says so or not.

Compact: one number a recipient, under a 64-bit keyed hash of record and recipient, in generations of five minutes that are forgotten whole
after `KEEP` seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from relayfleet.relay.spool.interface import Seen
from relayfleet.relay.spool.rabbitmq.entries import Entry

KEEP = 3600.0
"""Seconds: longer than copies of one record come back apart, with a reserve (see record 26), than the ten minutes that a final answer can take, and than a claim
can be held. The stream keeps as much for a relay that starts."""
GENERATION = 5 * 60.0
MOST = 3_000_000
"""Recipients remembered at most, up to 320 MB; beyond that the oldest generation is forgotten early. For an hour after the stream was cut back twice as many."""

_DONE, _REFUSED, _SETTLED = -1, -2, -3
_NUMBER_BITS = 40
"""A claimed recipient has the holder's index above so many bits, and the claim's number in them."""


class Ledger:
    """Apply the entries in the order of the stream; ask at any time. `before`: what was known of the stream before it was cut back, at `now`."""

    def __init__(self, before: Ledger | None = None, now: float = 0.0) -> None:
        self._generations: deque[tuple[float, dict[int, int]]] = deque()
        self._before, self._since = before, now
        self._holders: dict[str, int] = before._holders if before else {}
        if before:
            before._fold(now)

    def apply(self, entry: Entry, now: float) -> bool:
        """Take one entry in; for a claim, whether it is granted. `now` is the reader's own monotonic clock: a relay whose clock is wrong makes
        nobody forget anything."""
        if entry.kind in ("mark", "event", "destination"):
            return True
        newest = self._newest(now)
        if entry.kind in ("claim", "withdrawal"):
            return self._claim(entry, newest)
        if entry.kind == "outcome" and entry.delivered:
            self._finish(entry.key, entry.recipients, newest)
            return True
        states = {each: self._state(_slot(entry.key, each)) for each in entry.recipients}
        if entry.kind == "purge":  # who has claimed a copy says himself what becomes of it
            self._finish(entry.key, [each for each, state in states.items() if state is None or state < 0], newest)
        elif entry.kind == "settled":  # who has claimed it says so if he delivers, and need not put it off
            self._settle(entry.key, states, newest)
        else:
            newest.update((_slot(entry.key, each), _REFUSED) for each, state in states.items() if state != _SETTLED)
        return True

    def seen(self, key: str, recipients: Iterable[str], holder: str = "") -> Seen:
        """Who of the recipients was delivered to or purged, by this copy or any other of the record; who is claimed without an outcome, and of these who by
        another than `holder`; and who is settled."""
        states = {each: self._known(_slot(key, each)) for each in recipients}
        identity = _id(key)
        delivered = frozenset(each for each in states if self._known(_slot(identity, each)) == _DONE)
        claims = {
            each: state for each, state in states.items() if state is not None and state >= 0 and each not in delivered
        }
        ours = self._holders.get(holder, -1)
        elsewhere = frozenset(each for each, claim in claims.items() if claim >> _NUMBER_BITS != ours)
        settled = frozenset(each for each, state in states.items() if state == _SETTLED)
        return Seen(delivered, frozenset(claims), elsewhere, settled - delivered)

    def _claim(self, entry: Entry, newest: dict[int, int]) -> bool:
        """A claim, or the withdrawal of one: whether it is granted."""
        slots = [_slot(entry.key, each) for each in entry.recipients]
        holder = self._holders.setdefault(entry.holder, len(self._holders))
        claim = holder << _NUMBER_BITS | entry.number
        if entry.kind == "withdrawal":
            newest.update((slot, _REFUSED) for slot in slots if self._known(slot) == claim)
            return True
        granted = all(self._is_free(slot, holder) for slot in slots) and not self._done(entry.key, entry.recipients)
        if granted:
            newest.update(dict.fromkeys(slots, claim))
        return granted

    def _finish(self, key: str, recipients: Iterable[str], newest: dict[int, int]) -> None:
        for each in recipients:
            self._forget(_slot(key, each))
            newest[_slot(_id(key), each)] = _DONE

    def _settle(self, key: str, recipients: Iterable[str], newest: dict[int, int]) -> None:
        recipients = tuple(recipients)
        done = self._done(key, recipients)
        for each in recipients:
            if each not in done:
                slot = _slot(key, each)
                self._forget(slot)
                newest[slot] = _SETTLED

    def _forget(self, slot: int) -> None:
        """What was said there is of no use any more: each recipient takes up one slot as before."""
        for _, states in self._generations:
            states.pop(slot, None)

    def _done(self, key: str, recipients: Iterable[str]) -> frozenset[str]:
        identity = _id(key)
        return frozenset(each for each in recipients if self._state(_slot(identity, each)) == _DONE)

    def _state(self, slot: int) -> int | None:
        for _, states in reversed(self._generations):
            if (state := states.get(slot)) is not None:
                return state
        return None

    def _known(self, slot: int) -> int | None:
        """The same, or else as it was before the stream was cut back: that a copy is settled is the last word on it."""
        state = self._state(slot)
        if self._before is None:
            return state
        earlier = self._before._known(slot)
        return earlier if state is None or earlier == _SETTLED else state

    def _fold(self, now: float) -> None:
        """Take in what was known before this, so that no chain grows where brokers fall often."""
        if self._before:
            self._generations.extendleft(reversed(self._before._generations))
            self._before = None
        while self._generations and now - self._generations[0][0] > KEEP + GENERATION:
            self._generations.popleft()
        while sum(len(states) for _, states in self._generations) > MOST:
            self._make_room()

    def _is_free(self, slot: int, holder: int) -> bool:
        state = self._state(slot)
        return state in (None, _REFUSED) or (state is not None and state >= 0 and state >> _NUMBER_BITS == holder)

    def _newest(self, now: float) -> dict[int, int]:
        if self._before and now - self._since > KEEP:
            self._before = None
        if (
            not self._generations
            or now - self._generations[-1][0] > GENERATION
            or len(self._generations[-1][1]) > MOST // 12
        ):
            self._generations.append((now, {}))
        while len(self._generations) > 1 and now - self._generations[1][0] > KEEP:
            self._generations.popleft()
        while len(self._generations) > 1 and sum(len(states) for _, states in self._generations) > MOST:
            self._make_room()
        return self._generations[-1][1]

    def _make_room(self) -> None:
        """Who was delivered to is known longer than who was put off: of the one a copy is sent again, of the other it only goes on by itself."""
        for index, (began, states) in enumerate(self._generations):
            kept = {slot: state for slot, state in states.items() if state != _SETTLED}
            if len(kept) < len(states) and index < len(self._generations) - 1:
                self._generations[index] = began, kept
                return
        self._generations.popleft()


def _id(key: str) -> str:
    """Of the record whose copy has this key."""
    return key.partition(".")[0]


def _slot(key: str, recipient: str) -> int:
    return hash(f"{key} {recipient}")
