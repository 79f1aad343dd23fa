"""A pool on a stage: relays that behave as told, probed by two vantages in steps of 25 ms, judged by the real decision code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from relayfleet.decide.health.decision import decide
from relayfleet.decide.health.evidence import Answered, Erred, Evidence, Probe, Refused, Reset, Silent
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.roster import Relay, Roster, Vantage
from relayfleet.decide.health.state import State
from relayfleet.decide.health.verdict import Decision, Verdict
from relayfleet.decide.health.words import Level, Manual, Reason

STEP = 0.025
A, B = Vantage("A", "node-a"), Vantage("B", "node-b")

MAIL = (Probe.TRANSACTION, Probe.STORAGE)
MAIL_WORDS = ("errs", "stores not", "hangs", "breaks off")

Behaviour = Callable[[str, float], str]
"""(vantage, time) → answers | silent | refuses | errs | slow: how a relay treats a probe that is sent now. Of mails only: it "stores not",
"hangs" within each, or "breaks off". A "deaf" one answers old sessions and greets no new one."""


def always(word: str) -> Behaviour:
    """The same at all times, to all."""
    return lambda vantage, at: word


def to(vantage: str, word: str) -> Behaviour:
    """To one vantage only; all others are answered."""
    return lambda who, at: word if who == vantage else "answers"


@dataclass
class Scene:
    """The stage. `behave` names the relays that do something else than answer; `also` adds evidence at every step."""

    relays: int = 3
    vantages: tuple[Vantage, ...] = (A, B)
    policy: Policy = field(default_factory=Policy)
    state: State = field(default_factory=State)
    behave: dict[str, Behaviour] = field(default_factory=dict)
    also: Callable[[float], Iterable[Evidence]] = lambda at: ()
    manual: dict[str, Manual] = field(default_factory=dict)
    paused: bool = False
    blind: set[str] = field(default_factory=set)
    now: float = 5000.0
    storage_beat: int = 400
    """Steps between two whole mails."""
    decision: Decision | None = None
    history: list[tuple[float, dict[str, Level]]] = field(default_factory=list)
    _sent: dict[tuple[str, str, Probe], list[float]] = field(default_factory=dict)
    _step: int = 0

    @property
    def names(self) -> list[str]:
        return [f"r{number}" for number in range(self.relays)]

    @property
    def roster(self) -> Roster:
        relays = (Relay(name, f"node-{name}", self.manual.get(name, Manual.NONE)) for name in self.names)
        return Roster(tuple(relays), self.vantages, self.paused)

    def play(self, seconds: float) -> Scene:
        """Goes on for so long."""
        for _ in range(round(seconds / STEP)):
            self.step()
        return self

    def step(self) -> None:
        """As the operator does: decides on what was seen, and without news only when the last decision asked for it."""
        self.now += STEP
        self._step += 1
        batch = [each for probe in self._due() for each in self._probe(*probe)]
        batch += self.also(self.now)
        if batch or self.decision is None or self.now >= self.decision.next_check:
            self.hand(batch)

    def hand(self, batch: Iterable[Evidence]) -> Decision:
        """Gives evidence to the decision code now."""
        self.decision = decide(self.policy, self.state, batch, self.roster, self.now)
        self.state = self.decision.state
        self.history.append((self.now, {each.relay: each.level for each in self.decision.verdicts}))
        return self.decision

    def verdict(self, relay: str) -> Verdict:
        assert self.decision is not None
        return next(each for each in self.decision.verdicts if each.relay == relay)

    def levels(self) -> dict[str, Level]:
        return self.history[-1][1]

    def cordons(self, relay: str) -> list[float]:
        """When the relay left traffic."""
        times = []
        for (_, before), (at, after) in zip(self.history, self.history[1:], strict=False):
            if before.get(relay) is Level.ACTIVE and after.get(relay, Level.ACTIVE) is not Level.ACTIVE:
                times.append(at)
        return times

    def causes(self) -> set[Reason]:
        assert self.decision is not None
        return {each.reason for each in self.decision.causes}

    def _due(self) -> list[tuple[str, str, Probe]]:
        """Ordinary beats, one in ten steps for each relay and vantage, and what the last decision asked for."""
        due: dict[tuple[str, str, Probe], None] = {}
        for index, relay in enumerate(self.names):
            for offset, vantage in enumerate(self.vantages):
                beat = self._step + 3 * index + 5 * offset
                if beat % 10 == 0:
                    due[(relay, vantage.name, Probe.DIALOGUE)] = None
                if beat % 40 == 0:
                    due[(relay, vantage.name, Probe.TRANSACTION)] = None
                if beat % 200 == 0 or (beat % 10 == 0 and self._sent.get((relay, vantage.name, Probe.CONNECT))):
                    due[(relay, vantage.name, Probe.CONNECT)] = None
                if beat % self.storage_beat == 0:
                    due[(relay, vantage.name, Probe.STORAGE)] = None
        for burst in self.decision.bursts if self.decision and self._step % 2 == 0 else ():
            for vantage in self.vantages:
                due[(burst.relay, vantage.name, burst.probe)] = None
        return list(due)

    def _probe(self, relay: str, vantage: str, probe: Probe) -> list[Evidence]:
        word = self.behave.get(relay, always("answers"))(vantage, self.now)
        if vantage in self.blind:
            word = "silent"
        if probe in MAIL and word in MAIL_WORDS:
            return self._mail(relay, vantage, probe, word)
        sent = self._sent.setdefault((relay, vantage, probe), [])
        if word == "silent" or (word == "deaf" and probe is Probe.CONNECT):
            sent.append(self.now)
            return [Silent(relay, vantage, "pod", probe, self.now, tuple(sent[:16]))]
        sent.clear()
        if word == "refuses":
            return [Refused(relay, vantage, "pod", probe, self.now)]
        return [Answered(relay, vantage, "pod", probe, self.now, 2.0 if word == "slow" else 0.002)]

    def _mail(self, relay: str, vantage: str, probe: Probe, word: str) -> list[Evidence]:
        """A hanging mail is sent half a second before it is stated, and given up."""
        if word == "hangs":
            sent = self._sent.setdefault((relay, vantage, probe), [])
            sent.append(self.now - 0.5)
            return [Silent(relay, vantage, "pod", probe, self.now, tuple(sent[:16]))]
        if word == "breaks off":
            return [Reset(relay, vantage, "pod", probe, self.now)]
        if word == "errs" or probe is Probe.STORAGE:
            return [Erred(relay, vantage, "pod", probe, self.now, 0.002, 451)]
        return [Answered(relay, vantage, "pod", probe, self.now, 0.002)]
