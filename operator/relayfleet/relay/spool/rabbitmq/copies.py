"""Copies of one record that meet in one relay: the first line of defence against duplicates. Pure.

Hedged publishing and lost connections leave copies with the same key in the queues. A copy of a record that is being worked on is parked
until that is over, then dropped if its recipients were finished, or worked on itself if not. Recipients of finished records are kept for the
last `KEEP` of them, so that a late copy is dropped on arrival. Copies that meet in different relays are the journal's business.

A key alone does not tell who is finished: two relays that settle copies of one record may part its recipients differently (a rule was stated
between the one and the other), and their successors have one key and other recipients. Such copies are worked on one after the other, since the journal lets
one relay claim again what it has claimed.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

KEEP = 200_000
RECIPIENTS = 5
"""Kept for each of them on the average, at most: 8 bytes each."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finished(Generic[T]):
    """Parked copies after a copy was finished: those to be dropped, and the one that takes its place."""

    dropped: list[T]
    following: T | None


class Copies(Generic[T]):
    """What this relay works on, has parked, and has finished; by key. `keep`: finished keys that are remembered."""

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self._working: dict[str, T] = {}
        self._parked: dict[str, deque[tuple[frozenset[str], T]]] = {}
        self._finished: OrderedDict[str, array[int]] = OrderedDict()
        self._remembered = 0

    def is_finished(self, key: str, recipients: Iterable[str]) -> bool:
        """All of the recipients were finished by this relay under this key."""
        finished = self._finished.get(key)
        return finished is not None and set(map(hash, recipients)) <= set(finished)

    def begin(self, key: str, recipients: Iterable[str], copy: T) -> bool:
        """True: work on the copy. False: it is parked, since another one is being worked on."""
        if key in self._working:
            self._parked.setdefault(key, deque()).append((frozenset(recipients), copy))
            return False
        self._working[key] = copy
        return True

    def finish(self, key: str, recipients: Iterable[str]) -> Finished[T]:
        """The copy that is worked on is done with."""
        self._working.pop(key, None)
        self._remember(key, set(map(hash, recipients)))
        parked = self._parked.pop(key, deque())
        dropped = [copy for its, copy in parked if self.is_finished(key, its)]
        left = deque((its, copy) for its, copy in parked if not self.is_finished(key, its))
        if left:
            self._parked[key] = left
        return Finished(dropped, self._follow(key))

    def give_up(self, key: str, copy: T) -> T | None:
        """The copy is not worked on any more, and the record is not done; returns the parked copy that takes its place."""
        if self._working.get(key) is not copy:
            return None
        del self._working[key]
        return self._follow(key)

    def unpark(self) -> list[T]:
        """All parked copies, which are parked no more."""
        copies = [copy for parked in self._parked.values() for _, copy in parked]
        self._parked.clear()
        return copies

    def _follow(self, key: str) -> T | None:
        parked = self._parked.get(key)
        if not parked:
            return None
        _, following = parked.popleft()
        self._working[key] = following
        if not parked:
            del self._parked[key]
        return following

    def _remember(self, key: str, recipients: set[int]) -> None:
        known = self._finished.pop(key, array("q"))
        self._remembered -= len(known)
        self._finished[key] = array("q", recipients.union(known))
        self._remembered += len(self._finished[key])
        while len(self._finished) > self._keep or self._remembered > max(self._keep * RECIPIENTS, len(recipients)):
            _, forgotten = self._finished.popitem(last=False)
            self._remembered -= len(forgotten)
