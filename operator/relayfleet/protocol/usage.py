"""Which counts of credentials are still to be said to the other side of a control connection: those that have changed, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relayfleet.protocol.telemetry import MOST_USAGES, Usage


def _whole(row: Usage) -> object:
    return row


class Unsaid:
    """Of one connection. Nothing is said yet when it begins. `news` is what of a row has to be said when it changes."""

    def __init__(self, news: Callable[[Usage], object] = _whole) -> None:
        self._news = news
        self._said: dict[str, tuple[int, object]] = {}

    def pick(self, day: int, rows: Sequence[Usage]) -> tuple[Usage, ...]:
        """Of all rows as many as go into one message, those first that were said least lately: rows that change all the time shall not keep others from
        being said. On a new day none is said yet, so that the other side knows of the day."""
        changed = [row for row in rows if self._said.get(row.credential) != (day, self._news(row))]
        if len(changed) > MOST_USAGES:
            order = {name: place for place, name in enumerate(self._said)}
            changed.sort(key=lambda row: order.get(row.credential, -1))
        return tuple(changed[:MOST_USAGES])

    def say(self, day: int, rows: Sequence[Usage]) -> None:
        """These are on their way."""
        for row in rows:
            self._said.pop(row.credential, None)  # to the end of the order
            self._said[row.credential] = (day, self._news(row))

    def unsay(self, shown: Sequence[Usage]) -> None:
        """Rows in which the other side shows that it knows of no pool's count: it has not heard it, or has forgotten the credential meanwhile."""
        for row in shown:
            if row.pool == 0:
                self._said.pop(row.credential, None)


def news_of_relay(row: Usage) -> object:
    """What a leader does not know yet: what was accepted, and whether the relay knows the pool's count at all. That the leader's own words arrived is no
    news, or each mail would make all relays of a large fleet speak; but while a leader knows less than it was told, each of its words is answered."""
    return row.own, row.pool > 0, row.pool if row.own != row.counted else 0
