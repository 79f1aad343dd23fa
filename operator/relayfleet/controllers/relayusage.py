"""What credentials with limits have submitted to each pool, by what its relays tell: kept as long as the leader is there, told to all relays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from relayfleet.controllers.evidence import PoolName
from relayfleet.decide.usage import Count, Tab
from relayfleet.protocol.telemetry import MOST_COUNT, Usage, Usages, Window

MOST_CREDENTIALS = 1024
"""Of a pool and a day; a pool states at most 256 at a time."""

Tabs = dict[int, dict[str, Tab]]
"""By day, by credential."""


def _today() -> int:
    return int(time.time() // 86400)


class PoolUsages:
    """By pool. `today` is the day by UTC, in days since 1970; relays' clocks may be ahead or behind by a day, others are not believed."""

    def __init__(self, today: Callable[[], int] = _today) -> None:
        self._today = today
        self._pools: dict[PoolName, Tabs] = {}
        self._relays: dict[PoolName, frozenset[str]] = {}

    def keep(self, pool: PoolName, relays: Iterable[str]) -> None:
        """All relays that there are. What the others accepted stays in the sum, and nothing else of them: names of pods never come again, and a large
        pool that is rolled out often would fill the memory."""
        before, self._relays[pool] = self._relays.get(pool, frozenset()), frozenset(relays)
        for relay in before - self._relays[pool]:
            for tabs in self._pools.get(pool, {}).values():
                for tab in tabs.values():
                    tab.leave(relay)

    def take(self, pool: PoolName, relay: str, window: Window) -> None:
        """What a relay says."""
        if (usage := window.usage) is None or not self._near(usage.day):
            return
        days = self._pools.setdefault(pool, {})
        for day in [day for day in days if not self._near(day)]:
            del days[day]
        tabs = days.setdefault(usage.day, {})
        for row in usage.rows:
            tab = tabs.get(row.credential)
            if tab is None and len(tabs) < MOST_CREDENTIALS:
                tab = tabs[row.credential] = Tab()
            if tab is not None:
                tab.take(relay, Count(usage.run, row.own, row.pool, row.counted))

    def told(self, pool: PoolName, relay: str, usage: Usages) -> tuple[Usage, ...]:
        """What a relay should know of the day that it spoke of last: for each credential that it spoke of, what all relays took, and how much of it was its
        own."""
        tabs = self._pools.get(pool, {}).get(usage.day, {})
        found = ((name, tab.own(relay, usage.run), tab.total) for name, tab in tabs.items())
        return tuple(Usage(name, own, min(total, MOST_COUNT)) for name, own, total in found if own is not None)

    def forget(self, pool: PoolName) -> None:
        """The pool is gone."""
        self._pools.pop(pool, None)
        self._relays.pop(pool, None)

    def _near(self, day: int) -> bool:
        return abs(day - self._today()) <= 1
