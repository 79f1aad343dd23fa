"""The verdicts on all relays, in the leader's memory: evidence comes in, and whose place in traffic changes is told.

Nothing is decided here (`decide.health` does) and nothing is written (`relaytraffic` does). A pool is known from the first look that its
traffic work took at it; what its state was before this leader came is handed in then, so a change of leader moves no traffic.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from relayfleet.api.relaypool import HealthSettings
from relayfleet.controllers.detection import Detections
from relayfleet.controllers.evidence import PoolName, evidence, key, own_evidence, split
from relayfleet.controllers.watchedpool import WatchedPool, policy
from relayfleet.decide.health.decision import decide
from relayfleet.decide.health.evidence import Evidence
from relayfleet.decide.health.roster import Relay, Roster, Vantage
from relayfleet.decide.health.state import State
from relayfleet.decide.health.store import dump
from relayfleet.decide.health.verdict import Decision, Verdict
from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.fencing import Witness
from relayfleet.protocol.probing import Seen, Target
from relayfleet.protocol.telemetry import Window

_DRIFT = 1e-7
"""Clocks of two machines drift apart by less than this, in seconds, between two words (some parts in a million)."""

_ANSWERS = ("Answered", "Erred")
"""Sights of a relay that works, well or not."""


class Probers(Protocol):
    """Whoever carries targets and bursts to the probers."""

    def watch(self, targets: Sequence[Target]) -> None:
        """Probe these from now on, and no others."""

    def burst(self, keys: Sequence[str]) -> None:
        """Probe these at once."""


@dataclass(slots=True)
class Counts:
    """Totals since this leader came. `seen`: observations by vantage and kind; `verdicts`: changes of level by pool, level and reason;
    `ignored`: observations that could not be used."""

    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    ignored: int = 0


class Health:
    """All pools. `changed(namespace, name)` is called when a relay's level or weight is another one; `clock` is monotonic, in seconds."""

    def __init__(self, changed: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._changed = changed
        self._clock = clock
        self._pools: dict[PoolName, WatchedPool] = {}
        self._vantages: tuple[Vantage, ...] = ()
        self._behind: dict[str, float] = {}
        self.probers: Probers | None = None
        self.counts = Counts()
        self.detections = Detections()

    def knows(self, pool: PoolName) -> bool:
        """Whether `see` has been called for it."""
        return pool in self._pools

    def see(
        self,
        pool: PoolName,
        settings: HealthSettings,
        relays: Sequence[Relay],
        targets: Sequence[Target],
        *,
        paused: bool = False,
        state: State | None = None,
    ) -> None:
        """The pool as it is now. `state`: what a former leader knew; taken at the first look only."""
        roster = Roster(tuple(relays), self._vantages, paused)
        known = self._pools.get(pool)
        if known is None:
            known = self._pools[pool] = WatchedPool(policy(settings), roster, (), state or State(), since=self._clock())
        known.policy, known.roster = policy(settings), roster
        names = {each.name for each in relays}
        known.forget_others(names)
        self.detections.keep(pool, names)
        if known.targets != tuple(targets):
            known.targets = tuple(targets)
            self.watch()
        self._decide(pool, known, (), tell=False)

    def forget(self, pool: PoolName) -> None:
        """The pool is gone."""
        if self._pools.pop(pool, None):
            self.detections.forget(pool)
            self.watch()

    def verdict(self, pool: PoolName, relay: str) -> Verdict | None:
        """The last word on a relay; None when it is no case for health (it starts, or leaves)."""
        known = self._pools.get(pool)
        return known.verdicts.get(relay) if known else None

    def witness(self, pool: PoolName, relay: str) -> Witness | None:
        """What is known of a relay besides its verdict; None when it is no case for health."""
        known = self._pools.get(pool)
        if known is None or relay not in known.verdicts:
            return None
        state, at = known.state.relays.get(relay), known.heard_at.get(relay)
        hard = state is not None and state.standing.level is Level.HARD
        return Witness(hard, self._clock() - (known.since if at is None else at), at is not None)

    def document(self, pool: PoolName) -> dict[str, Any]:
        """What outlives this leader, for `decide.health.store.load`. Raises KeyError for a pool that is not known."""
        return dump(self._pools[pool].state)

    def present(self, vantages: tuple[Vantage, ...]) -> None:
        """Who watches now."""
        self._vantages = vantages
        self._behind.clear()
        for known in self._pools.values():
            known.roster = replace(known.roster, vantages=vantages)

    def take(self, vantage: str, seen: Seen) -> None:
        """What a vantage saw. What is about relays that nobody asked about is dropped."""
        now, batches = self._when(vantage, seen), defaultdict[PoolName, list[Evidence]](list)
        for sight in seen.sights:
            self.counts.seen[vantage, sight.kind] += 1
            try:
                pool, relay = split(sight.key)
            except ValueError:
                continue
            batches[pool].append(evidence(vantage, relay, sight, now))
            if sight.kind == "Answered":
                self.detections.latency.answered(vantage, sight.probe, sight.latency)
            if (known := self._pools.get(pool)) and sight.kind in _ANSWERS:
                known.hear_of(relay, now - sight.age)
        for pool, batch in batches.items():
            if known := self._pools.get(pool):
                self._hear(pool, known, batch)

    def _hear(self, pool: PoolName, known: WatchedPool, batch: Sequence[Evidence]) -> None:
        """Decide at once, or let it wait."""
        if not known.may_wait(batch, self._clock()):
            self.detections.heard(pool, batch)
            self._decide(pool, known, batch)

    def take_window(self, pool: PoolName, relay: str, window: Window) -> None:
        """What a relay says of its own traffic. It waits for the next tick or a prober's word, whichever is first: a decision for each of
        thousands of windows a second would be too many."""
        known, now = self._pools.get(pool), self._clock()
        if known is None:
            self.counts.ignored += 1
            return
        known.hear_of(relay, now)
        batch = tuple(own_evidence(relay, window, now))
        if not known.may_wait(batch, now):
            self.detections.heard(pool, batch)
            known.wait_for_tick(batch, now)

    def unlisted(self, pool: PoolName, listed: Collection[str]) -> None:
        """The pool's slices list these relays as ready, and no others."""
        self.detections.unlisted(pool, listed, self._clock())

    def verdicts(self) -> Iterable[tuple[PoolName, Verdict]]:
        """All of them."""
        return ((pool, verdict) for pool, known in self._pools.items() for verdict in known.verdicts.values())

    def _when(self, vantage: str, seen: Seen) -> float:
        """This clock's time of what a vantage calls now: as by its word that was under way for the shortest time. Else a probe that is named
        in two words would be at two times, and look like two probes."""
        behind = self._clock() - seen.now
        self._behind[vantage] = min(behind, self._behind.get(vantage, behind) + _DRIFT)
        return seen.now + self._behind[vantage]

    def tick(self) -> None:
        """Decide where time alone may change something. Call it a few times a second."""
        now = self._clock()
        for pool, known in self._pools.items():
            if now >= known.next_check:
                self._decide(pool, known, ())

    def _decide(self, pool: PoolName, known: WatchedPool, batch: Iterable[Evidence], *, tell: bool = True) -> None:
        now = self._clock()
        decision = decide(known.policy, known.state, (*known.heard(), *batch), known.roster, now)
        before = {name: (each.level, each.weight) for name, each in known.verdicts.items()}
        known.follow(decision)
        serving = {name for name, (level, _) in before.items() if level is Level.ACTIVE}
        self.detections.judged(pool, serving, decision.verdicts, now)
        self._burst(pool, known, decision, now)
        self.counts.ignored += decision.ignored
        if before == {name: (each.level, each.weight) for name, each in known.verdicts.items()}:
            return  # nearly always
        self._count_verdicts(pool, known, before)
        if tell:
            self._changed(*pool)

    def _count_verdicts(self, pool: PoolName, known: WatchedPool, before: dict[str, tuple[Level, int]]) -> None:
        for name, each in known.verdicts.items():
            if name in before and before[name][0] is not each.level:
                self.counts.verdicts[(*pool, each.level.value, each.reason.value)] += 1

    def _burst(self, pool: PoolName, known: WatchedPool, decision: Decision, now: float) -> None:
        if self.probers and decision.bursts and now - known.burst_at >= known.policy.burst_gap:
            known.burst_at = now
            self.probers.burst(sorted({key(*pool, each.relay) for each in decision.bursts}))

    def watch(self) -> None:
        """Say again what is to be probed."""
        if self.probers:
            self.probers.watch([target for known in self._pools.values() for target in known.targets])
