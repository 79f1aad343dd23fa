"""The detectors that are compared: the product's own decision code, k-of-n thresholds, and phi-accrual."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from relayfleet.decide.health.decision import decide
from relayfleet.decide.health.evidence import Answered, Evidence, Probe, Refused, Reset, Silent
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.roster import Relay, Roster, Vantage
from relayfleet.decide.health.state import State
from relayfleet.decide.health.tail import Tail
from relayfleet.decide.health.words import Level
from tests.bench._health_world import INTERVAL, VANTAGES, Outcome

ROSTER = Roster(
    tuple(Relay(f"relay-{number}", f"node-{number}") for number in range(3)),
    (Vantage("A", "node-a"), Vantage("B", "node-b")),
)
SUSPECT, OTHER = ROSTER.relays[0].name, ROSTER.relays[1].name
PATH = "pod"
_START = 1000.0


@dataclass
class Ours:
    """The real decision code: every observation is one call of `decide`."""

    policy: Policy
    state: State
    alarms: dict[str, float] = field(default_factory=dict)
    calls: int = 0
    _batch: list[Evidence] = field(default_factory=list)
    _burst: bool = False

    def sent(self, vantage: str, at: float) -> None:
        """Sending tells nothing."""

    def reference(self, vantage: str, at: float) -> None:
        self._batch.append(Answered(OTHER, vantage, PATH, Probe.DIALOGUE, _START + at, 0.002))
        self._decide(at)

    def told(self, vantage: str, sent: float, at: float, outcome: Outcome) -> None:
        if outcome is Outcome.ANSWERED:
            self._batch.append(Answered(SUSPECT, vantage, PATH, Probe.DIALOGUE, _START + at, at - sent))
        elif outcome is Outcome.REFUSED:
            self._batch.append(Refused(SUSPECT, vantage, PATH, Probe.DIALOGUE, _START + at))
        else:
            self._batch.append(Reset(SUSPECT, vantage, PATH, Probe.DIALOGUE, _START + at))
        self._decide(at)

    def unanswered(self, vantage: str, sent: tuple[float, ...], at: float) -> None:
        stated = tuple(_START + each for each in sent)
        self._batch.append(Silent(SUSPECT, vantage, PATH, Probe.DIALOGUE, _START + at, stated))
        self._decide(at)

    def bursts(self, at: float) -> bool:
        return self._burst

    def settled(self) -> bool:
        own = self.state.relays[SUSPECT]
        return not any(each.unanswered or each.refused or each.resets or each.late for each in own.probing.values())

    def _decide(self, at: float) -> None:
        decision = decide(self.policy, self.state, self._batch, ROSTER, _START + at)
        self.state, self._batch, self.calls = decision.state, [], self.calls + 1
        self._burst = any(burst.relay == SUSPECT for burst in decision.bursts)
        level = decision.verdicts[0].level
        if level is not Level.ACTIVE:
            self.alarms.setdefault("soft", at)
        if level is Level.HARD:
            self.alarms.setdefault("hard", at)


def rested(policy: Policy, tail: Tail) -> State:
    """The state of a pool that has been healthy for long, with `tail` as what was measured of its silences."""
    state = State()
    for step in range(40):
        at = _START - 5.0 + step * INTERVAL / 2
        batch = [
            Answered(relay.name, vantage, PATH, Probe.DIALOGUE, at, 0.002)
            for relay in ROSTER.relays
            for vantage in VANTAGES
        ]
        state = decide(policy, state, batch, ROSTER, at).state
    relays = {name: replace(each, tail=tail) for name, each in state.relays.items()}
    return replace(state, relays=relays)


@dataclass
class Consecutive:
    """k misses of k in a row, over the probes of both vantages together; a miss is a probe unanswered for `patience`, or refused.

    `closer`: it is given the product's bursts as well.
    """

    k: int
    patience: float
    closer: bool = False
    alarms: dict[str, float] = field(default_factory=dict)
    _missed: set[tuple[str, float]] = field(default_factory=set)
    _answered: float = -1.0

    def sent(self, vantage: str, at: float) -> None:
        """Sending tells nothing."""

    def reference(self, vantage: str, at: float) -> None:
        """It has no use for other relays."""

    def told(self, vantage: str, sent: float, at: float, outcome: Outcome) -> None:
        if outcome is Outcome.ANSWERED and at - sent <= self.patience:
            self._answered = max(sent, self._answered)
            self._missed = {each for each in self._missed if each[1] > self._answered}
        else:
            self._miss(vantage, sent, at)

    def unanswered(self, vantage: str, sent: tuple[float, ...], at: float) -> None:
        for each in sent:
            if at - each >= self.patience:
                self._miss(vantage, each, at)

    def bursts(self, at: float) -> bool:
        return self.closer and bool(self._missed)

    def settled(self) -> bool:
        return not self._missed

    def _miss(self, vantage: str, sent: float, at: float) -> None:
        if sent <= self._answered:
            return
        self._missed.add((vantage, sent))
        if len(self._missed) >= self.k:
            self.alarms.setdefault("soft", at)
            self.alarms.setdefault("hard", at)


def phi_patience(phi: float, mean: float, deviation: float) -> float:
    """Phi-accrual (Hayashibara et al. 2004) on answers as heartbeats, gaps taken as normal: the gap in seconds at which it alarms."""
    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _log10_normal_tail(middle) > -phi else (low, middle)
    return mean + high * deviation


def _log10_normal_tail(z: float) -> float:
    """log10 P(Z > z), by the asymptotic series where erfc underflows."""
    if z < 25:
        return math.log10(0.5 * math.erfc(z / math.sqrt(2)))
    return (-z * z / 2 - math.log(z * math.sqrt(2 * math.pi)) - 1 / (z * z)) / math.log(10)
