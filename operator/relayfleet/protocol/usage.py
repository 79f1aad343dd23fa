"""Which counts of credentials are still to be said to the other side of a control connection: those that have changed, a few at a time."""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.protocol.telemetry import MOST_USAGES, Usage


class Unsaid:
    """Of one connection. Nothing is said yet when it begins."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, Usage]] = {}

    def pick(self, day: int, rows: Sequence[Usage]) -> tuple[Usage, ...]:
        """Of all rows as many as go into one message, those first that were said least lately: rows that change all the time shall not keep others from
        being said. On a new day none is said yet, so that the other side knows of the day."""
        changed = [row for row in rows if self._said.get(row.credential) != (day, row)]
        if len(changed) > MOST_USAGES:
            order = {name: place for place, name in enumerate(self._said)}
            changed.sort(key=lambda row: order.get(row.credential, -1))
        return tuple(changed[:MOST_USAGES])

    def say(self, day: int, rows: Sequence[Usage]) -> None:
        """These are on their way."""
        for row in rows:
            self._said.pop(row.credential, None)  # to the end of the order
            self._said[row.credential] = (day, row)
