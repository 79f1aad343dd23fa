"""What relays tell of their pool's dependencies and of their resolvers, in the leader's memory: the last word of each relay, and since when.

No evidence comes of it: a relay answers for its own work, never for what it depends on (`relayhealth` does not even look at this).
"""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from relayfleet.api.dependencies import Dependency
from relayfleet.controllers.evidence import PoolName
from relayfleet.decide.pool.facts import Declared, Resolvers, Word
from relayfleet.protocol.telemetry import MOST_RESOLVERS, Window
from relayfleet.protocol.telemetry import Dependency as Told

STALE = 15.0
"""Seconds after which the word of a relay that says nothing any more counts no more; it says something each second."""


@dataclass(frozen=True, slots=True)
class _Report:
    """`at`: when it came, by the monotonic clock. `words` by name of dependency, `resolvers` by their host:port."""

    at: float
    words: Mapping[str, Word] = field(default_factory=dict)
    resolvers: Mapping[str, Word] = field(default_factory=dict)

    def says_as(self, other: _Report) -> bool:
        """Whether it tells of the same states."""
        return _states(self.words) == _states(other.words) and _states(self.resolvers) == _states(other.resolvers)


class Reports:
    """Of all pools. `changed(namespace, name)` is called when a relay sees one of them in another state; `clock` is monotonic, in seconds,
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
        """What a relay says. An older relay says nothing of either: nothing is kept of it."""
        reports = self._pools.get(pool, {})
        before = reports.get(relay)
        if not window.dependencies and not window.resolvers and before is None:
            return
        known = before or _Report(0.0)
        told = _Report(
            self._clock(),
            self._words(window.dependencies, known.words),
            self._words(window.resolvers, known.resolvers),
        )
        self._pools.setdefault(pool, reports)[relay] = told
        if not told.says_as(known):
            self._changed(*pool)

    def of(self, pool: PoolName, declared: Sequence[Dependency], relays: Collection[str]) -> tuple[Declared, ...]:
        """The pool's dependencies with the words of these relays. Others are forgotten when they have fallen silent, not sooner: one that
        leaves and still speaks would be news each time."""
        fresh = self._of(pool, relays)
        return tuple(
            Declared(
                each.name,
                each.on_failure != "Report",
                {relay: said.words[each.name] for relay, said in fresh.items() if each.name in said.words},
            )
            for each in declared
        )

    def resolvers_of(self, pool: PoolName, named: Sequence[str], relays: Collection[str]) -> Resolvers:
        """The resolvers of these relays: those that the pool names, or those that most of them tell of if it names none."""
        fresh = self._of(pool, relays)
        told = Counter(name for said in fresh.values() for name in said.resolvers)
        names = named or sorted(name for name, _ in told.most_common(MOST_RESOLVERS))
        return Resolvers(
            tuple(
                Declared(
                    name,
                    words={relay: said.resolvers[name] for relay, said in fresh.items() if name in said.resolvers},
                )
                for name in names
            ),
            bool(named),
        )

    def _of(self, pool: PoolName, relays: Collection[str]) -> dict[str, _Report]:
        reports = self._pools.get(pool, {})
        for gone in [relay for relay, each in reports.items() if relay not in relays and not self._fresh(each)]:
            del reports[gone]
        return {relay: each for relay, each in reports.items() if relay in relays and self._fresh(each)}

    def forget(self, pool: PoolName) -> None:
        """The pool is gone."""
        self._pools.pop(pool, None)

    def counts(self) -> Iterable[tuple[PoolName, str, str, int]]:
        """How many relays of a pool see a dependency in a state, by their last words."""
        return self._counts(lambda each: each.words)

    def resolver_counts(self) -> Iterable[tuple[PoolName, str, str, int]]:
        """The same of resolvers."""
        return self._counts(lambda each: each.resolvers)

    def _counts(self, words: Callable[[_Report], Mapping[str, Word]]) -> Iterable[tuple[PoolName, str, str, int]]:
        for pool, reports in self._pools.items():
            fresh = (words(each) for each in reports.values() if self._fresh(each))
            seen = Counter((name, word.state) for each in fresh for name, word in each.items())
            for (name, state), number in seen.items():
                yield pool, name, state, number

    def _fresh(self, report: _Report) -> bool:
        return self._clock() - report.at <= STALE

    def _words(self, told: Sequence[Told], known: Mapping[str, Word]) -> dict[str, Word]:
        return {each.name: self._word(each, known.get(each.name)) for each in told}

    def _word(self, told: Told, before: Word | None) -> Word:
        """Its time is taken when it is first said: of ages that are told again and again each would make another time, and so another
        status."""
        if before is not None and before.state == told.state.value:
            return Word(before.state, before.since, told.why)
        began = self._now() - datetime.timedelta(seconds=min(told.seconds, 1e8))
        return Word(told.state.value, began.strftime("%Y-%m-%dT%H:%M:%SZ"), told.why)


def _states(words: Mapping[str, Word]) -> dict[str, str]:
    return {name: each.state for name, each in words.items()}
