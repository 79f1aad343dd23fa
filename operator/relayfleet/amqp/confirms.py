"""Which publishes a confirm means. Pure.

The broker numbers the publishes of a channel from 1 and confirms by number, in any order, one or all up to one. `Confirms` keeps what
the caller wants back for each number that is still open, oldest first.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Confirms(Generic[T]):
    """The open publishes of one channel."""

    __slots__ = ("_lowest", "_next", "_open")

    def __init__(self) -> None:
        self._open: dict[int, T] = {}
        self._next = 1
        self._lowest = 1

    def __len__(self) -> int:
        return len(self._open)

    @property
    def next_tag(self) -> int:
        """The number of the next publish."""
        return self._next

    def add(self, item: T) -> int:
        """Remember a publish; returns its number."""
        tag = self._next
        self._next = tag + 1
        self._open[tag] = item
        return tag

    def get(self, tag: int) -> T | None:
        """The open publish of that number."""
        return self._open.get(tag)

    def settle(self, tag: int, multiple: bool) -> list[T]:
        """Close the publish, or all up to it; numbers that are not open are ignored."""
        if not multiple:
            item = self._open.pop(tag, None)
            return [] if item is None else [item]
        first, last = self._lowest, min(tag, self._next - 1)
        self._lowest = max(first, last + 1)
        return [self._open.pop(each) for each in range(first, last + 1) if each in self._open]

    def drain(self) -> list[T]:
        """Close all."""
        items = list(self._open.values())
        self._open.clear()
        return items
