"""What relays tell of their pool's dependencies, in the leader's memory: the last word of each relay, and since when it says so.

No evidence comes of it: a relay answers for its own work, never for what it depends on (`relayhealth` does not even look at this).
"""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from relayfleet.api.dependencies import Dependency
from relayfleet.controllers.relayhealth import PoolName
from relayfleet.decide.pool.facts import Declared, Word
from relayfleet.protocol.telemetry import Dependency as Told
from relayfleet.protocol.telemetry import Window

STALE = 15.0
"""Seconds after which the word of a relay that says nothing any more counts no more; it says something each second."""


@dataclass(frozen=True, slots=True)
class _Report:
    """`at`: when it came, by the monotonic clock."""

    at: float
    words: Mapping[str, Word]


class Reports:
    """Of all pools. `changed(namespace, name)` is called when a relay sees a dependency in another state; `clock` is monotonic, in seconds,
    `now` the time of day."""

    def __init__(
        self,
        changed: Callable[[str, str], None] = lambda namespace, name: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._changed, self._clock, self._now = changed, clock, now
        self._pools: dict[PoolName, dict[str, _Report]] = {}

    def take(self, pool: PoolName, relay: str, window: Window) -> None:
        """What a relay says. An older relay says nothing of dependencies, and one without any has nothing to say: nothing is kept of it."""
        reports = self._pools.get(pool, {})
        before = reports.get(relay)
        if not window.dependencies and before is None:
            return
        known = before.words if before else {}
        words = {each.name: self._word(each, known.get(each.name)) for each in window.dependencies}
        self._pools.setdefault(pool, reports)[relay] = _Report(self._clock(), words)
        if {name: each.state for name, each in words.items()} != {name: each.state for name, each in known.items()}:
            self._changed(*pool)

    def of(self, pool: PoolName, declared: Sequence[Dependency], relays: Collection[str]) -> tuple[Declared, ...]:
        """The pool's dependencies with the words of these relays. Others are forgotten when they have fallen silent, not sooner: one that
        leaves and still speaks would be news each time."""
        reports = self._pools.get(pool, {})
        for gone in [relay for relay, each in reports.items() if relay not in relays and not self._fresh(each)]:
            del reports[gone]
        fresh = {relay: each.words for relay, each in reports.items() if relay in relays and self._fresh(each)}
        return tuple(
            Declared(
                each.name,
                each.on_failure != "Report",
                {relay: words[each.name] for relay, words in fresh.items() if each.name in words},
            )
            for each in declared
        )

    def forget(self, pool: PoolName) -> None:
        """The pool is gone."""
        self._pools.pop(pool, None)

    def counts(self) -> Iterable[tuple[PoolName, str, str, int]]:
        """How many relays of a pool see a dependency in a state, by their last words."""
        for pool, reports in self._pools.items():
            seen = Counter(
                (name, word.state)
                for each in reports.values()
                if self._fresh(each)
                for name, word in each.words.items()
            )
            for (name, state), number in seen.items():
                yield pool, name, state, number

    def _fresh(self, report: _Report) -> bool:
        return self._clock() - report.at <= STALE

    def _word(self, told: Told, before: Word | None) -> Word:
        """Its time is taken when it is first said: of ages that are told again and again each would make another time, and so another
        status."""
        if before is not None and before.state == told.state.value:
            return Word(before.state, before.since, told.why)
        began = self._now() - datetime.timedelta(seconds=min(told.seconds, 1e8))
        return Word(told.state.value, began.strftime("%Y-%m-%dT%H:%M:%SZ"), told.why)
