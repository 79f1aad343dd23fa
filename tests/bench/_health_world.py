"""A small world for judging detectors: one relay under probe by two vantages, with losses, bursts, stalls and pauses.

Rare alarms are reached by importance sampling: probes fail far more often than they really do, and each run carries the
likelihood ratio of what happened. A run ends with an alarm or when everything is as before (a regeneration), so that

    alarms a year = (beginnings a year) x (mean of likelihood ratio x alarm)

Other relays always answer a vantage that looks. That can only make false alarms likelier: it is what proves that the vantage sees.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

VANTAGES = ("A", "B")
INTERVAL = 0.25
SUSPECT_AFTER = 0.03
BURST_GAP = 0.05
LONGEST_RUN = 8.0
"""Seconds after which a run is cut off; by then a crash or freeze is found or it never is."""
HOPELESS = -80.0
"""Log-likelihood ratio below which a run can no longer count: e^-80 a beginning."""


class Outcome(Enum):
    """What becomes of a probe."""

    ANSWERED = 0
    LOST = 1
    REFUSED = 2
    RESET = 3


Chances = tuple[float, float, float, float]
"""Probabilities of the outcomes, in their order."""

HEALTHY: Chances = (0.99 - 1.1e-5, 0.01, 1e-6, 1e-5)
"""1 % independent loss, and what the policy takes for the share of refusals and resets."""


class Detector(Protocol):
    """Something that watches the relay. Times are seconds of the world."""

    def sent(self, vantage: str, at: float) -> None: ...
    def told(self, vantage: str, sent: float, at: float, outcome: Outcome) -> None: ...
    def unanswered(self, vantage: str, sent: tuple[float, ...], at: float) -> None: ...
    def reference(self, vantage: str, at: float) -> None: ...
    def bursts(self, at: float) -> bool: ...
    def settled(self) -> bool: ...
    @property
    def alarms(self) -> dict[str, float]: ...


@dataclass
class World:
    """One run. `tilt`: chances that are drawn from instead of the true ones, as long as no alarm is hopeless."""

    detector: Detector
    rng: random.Random
    tilts: tuple[Chances, ...] = ()
    until: str = "hard"
    dead: Outcome | None = None
    """From time 0 on every probe ends like this."""
    stalled: float = 0.0
    """From time 0 on the relay's node stands still for so long; then it answers all that has come in."""
    paused: float = 0.0
    """From time 0 on vantage A stands still; back again, it complains before it reads its sockets."""
    burst: float = 0.0
    """From time 0 on the path from A loses `burst_loss` of the probes for so long."""
    burst_loss: float = 0.8
    burst_vantages: tuple[str, ...] = ("A",)
    first: Outcome | None = None
    """What becomes of the first probe, which is then A's at time 0."""
    log_ratios: list[float] = field(default_factory=list)
    _queue: list[tuple[float, int, str, str, float]] = field(default_factory=list)
    _open: dict[str, list[float]] = field(default_factory=lambda: {v: [] for v in VANTAGES})
    _count: int = 0
    _next_burst: float = 0.0

    def run(self) -> float:
        """Plays one run; returns its log-likelihood ratio."""
        self._tilt = self.rng.choice(self.tilts) if self.tilts else None
        self.log_ratios = [0.0 for _ in self.tilts]
        phase = self.rng.uniform(0, INTERVAL)
        self._at(0.0 if self.first else self.rng.uniform(0, INTERVAL), "beat", "A")
        self._at(phase, "beat", "B")
        while self._queue:
            now, _, kind, vantage, sent = heapq.heappop(self._queue)
            if now > LONGEST_RUN or self.until in self.detector.alarms or self.log_ratio < HOPELESS:
                break
            self._play(now, kind, vantage, sent)
            if now > max(self.stalled, self.paused, self.burst) and not self.dead and self._over():
                break
        return self.log_ratio

    @property
    def log_ratio(self) -> float:
        """Of the true chances against the even mixture of the tilts (the balance heuristic)."""
        if not self.log_ratios:
            return 0.0
        least = min(self.log_ratios)
        return least - math.log(sum(math.exp(least - each) for each in self.log_ratios) / len(self.log_ratios))

    def _over(self) -> bool:
        return not any(self._open.values()) and self.detector.settled()

    def _at(self, time: float, kind: str, vantage: str, sent: float = 0.0) -> None:
        self._count += 1
        heapq.heappush(self._queue, (time, self._count, kind, vantage, sent))

    def _play(self, now: float, kind: str, vantage: str, sent: float) -> None:
        pausing = vantage == "A" and now < self.paused
        if kind == "beat":
            self._at(now + INTERVAL, "beat", vantage)
            if not pausing:
                self._send(now, vantage)
        elif pausing:
            self._at(self.paused + (0.0 if kind == "look" else 1e-4), kind, vantage, sent)
        elif kind == "burst":
            self._send(now, vantage)
        elif kind == "look":
            self._look(now, vantage)
        elif kind == "reference":
            self.detector.reference(vantage, now)
        else:
            if kind == Outcome.ANSWERED.name:  # earlier ones that are still open are lost
                self._open[vantage] = [each for each in self._open[vantage] if each > sent]
            elif sent in self._open[vantage]:
                self._open[vantage].remove(sent)
            self.detector.told(vantage, sent, now, Outcome[kind])
        self._burst(now)

    def _look(self, now: float, vantage: str) -> None:
        self._open[vantage] = [sent for sent in self._open[vantage] if now - sent < LONGEST_RUN]
        if self._open[vantage]:
            self.detector.unanswered(vantage, tuple(self._open[vantage]), now)

    def _burst(self, now: float) -> None:
        if now >= self._next_burst and self.detector.bursts(now):
            self._next_burst = now + BURST_GAP
            for vantage in VANTAGES:
                self._at(now + 0.001, "burst", vantage)
                self._at(now + 0.003, "reference", vantage)
                self._at(now + BURST_GAP, "look", vantage)

    def _send(self, now: float, vantage: str) -> None:
        """Sends a probe, and has another relay probed half an interval later, as an ordinary beat would."""
        self.detector.sent(vantage, now)
        self._open[vantage].append(now)
        self._at(now + INTERVAL / 2, "reference", vantage)
        outcome = self._outcome(now, vantage)
        self._at(now + SUSPECT_AFTER + 0.0005, "look", vantage)
        latency = 0.001 + self.rng.expovariate(1000.0)
        if outcome is not Outcome.LOST:
            arrives = max(now, self.stalled) + latency
            self._at(arrives, outcome.name, vantage, now)

    def _outcome(self, now: float, vantage: str) -> Outcome:
        if self.dead:
            return self.dead
        if self.first:
            outcome, self.first = self.first, None
            return outcome
        if now < self.burst and vantage in self.burst_vantages:
            return Outcome.LOST if self.rng.random() < self.burst_loss else Outcome.ANSWERED
        chances = self._tilt or HEALTHY
        outcome = self.rng.choices(list(Outcome), chances)[0]
        for index, tilt in enumerate(self.tilts):
            self.log_ratios[index] += math.log(HEALTHY[outcome.value] / tilt[outcome.value])
        return outcome
