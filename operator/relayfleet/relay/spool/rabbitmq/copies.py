"""Copies of one record that meet in one relay: the first line of defence against duplicates. Pure.

Hedged publishing and lost connections leave copies with the same key in the queues. A copy of a record that is being worked on is parked
until that is over, then dropped if the record was finished, or worked on itself if it was not. Keys of finished records are kept for the
last `KEEP` of them, so that a late copy is dropped on arrival. Copies that meet in different relays are the journal's business.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

KEEP = 200_000

T = TypeVar("T")


class Copies(Generic[T]):
    """What this relay works on, has parked, and has finished; by key."""

    def __init__(self, keep: int = KEEP) -> None:
        self._keep = keep
        self._working: dict[str, T] = {}
        self._parked: dict[str, deque[T]] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()

    def is_finished(self, key: str) -> bool:
        """A copy with this key was finished by this relay."""
        return key in self._finished

    def begin(self, key: str, copy: T) -> bool:
        """True: work on the copy. False: it is parked, since another one is being worked on."""
        if key in self._working:
            self._parked.setdefault(key, deque()).append(copy)
            return False
        self._working[key] = copy
        return True

    def finish(self, key: str) -> list[T]:
        """The record is done with; returns the parked copies, to be dropped."""
        self._working.pop(key, None)
        self._finished[key] = None
        self._finished.move_to_end(key)
        if len(self._finished) > self._keep:
            self._finished.popitem(last=False)
        return list(self._parked.pop(key, ()))

    def give_up(self, key: str, copy: T) -> T | None:
        """The copy is not worked on any more, and the record is not done; returns the parked copy that takes its place."""
        if self._working.get(key) is not copy:
            return None
        del self._working[key]
        parked = self._parked.get(key)
        if not parked:
            return None
        self._working[key] = following = parked.popleft()
        if not parked:
            del self._parked[key]
        return following

    def unpark(self) -> list[T]:
        """All parked copies, which are parked no more."""
        copies = [each for parked in self._parked.values() for each in parked]
        self._parked.clear()
        return copies
