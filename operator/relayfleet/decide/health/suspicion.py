"""How bad one relay looks: the sum of what speaks for failure, split by cause.

Three rules make the sum honest.

*Once per failure domain.* Of what was seen through one vantage × path only the largest counts; domains add up. Then the sum is
never above Page's joint sum over all observations, so the threshold bounds the rate of false alarms.

*Contrast.* A failure is blamed on a relay only up to the moment when the same prober, or the same shared thing, was seen
working for another relay. A blind vantage, a dead broker or a dead database works for nobody, so it blames nobody.

*Any answer refutes silence.* Probes sent before the last one that was answered, by whichever way, say nothing: the relay
lived after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from relayfleet.decide.health.evidence import Probe
from relayfleet.decide.health.findings import Finding
from relayfleet.decide.health.fold import CONNECTIONS, FAILURES, PROBE_MAILS, TELEMETRY, suspicious
from relayfleet.decide.health.outcomes import weigh_outcomes
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.roster import Relay, Roster
from relayfleet.decide.health.state import NEVER, Probing, RelayState, Source, State, Subject, Trial, View
from relayfleet.decide.health.words import Level, Reason

LAPSE = 1.0
"""A vantage that has said nothing of a relay for so long is not watching it, in seconds."""
_HARD_FACTS = (Reason.REFUSING, Reason.RESETTING)
_CLOSER = {PROBE_MAILS: Probe.STORAGE, CONNECTIONS: Probe.CONNECT}
"""Which probe tells more of what is turned away; of all else a transaction does."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The sum, the level that it asks for, and its parts, those of the weightiest cause first. `level` ACTIVE: nothing to hold against the relay."""

    level: Level
    total: float
    findings: tuple[Finding, ...]

    @property
    def reason(self) -> Reason:
        """The cause that weighs most, all its findings together."""
        return self.findings[0].reason if self.findings else Reason.HEALTHY

    @property
    def message(self) -> str:
        """The weightiest finding of that cause, for people."""
        return self.findings[0].text if self.findings else "answers as usual"


QUIET = Suspicion(Level.ACTIVE, 0.0, ())


@dataclass(frozen=True, slots=True)
class Judge:
    """One relay's case: what `weigh` needs to know beside the evidence."""

    state: State
    roster: Roster
    policy: Policy
    relay: Relay
    own: RelayState

    @property
    def vantages(self) -> int:
        return len(self.roster.vantages)

    def watched(self) -> list[tuple[Source, Probing]]:
        """The sources that have said something of this relay just now; what older ones said is unknown by now."""
        since = self.state.clock - LAPSE
        return [(source, each) for source, each in self.own.probing.items() if each.as_of >= since]

    def proven(self, source: Source, as_of: float) -> float:
        """Up to when this source is known to see: its last answer from another relay. Alone in the pool, a relay has no such witness."""
        if len(self.roster.relays) < 2:
            return as_of
        view = self.state.views.get(source)
        return min(as_of, view.heard.besides(self.relay.name)[1]) if view else NEVER


def weigh(state: State, roster: Roster, policy: Policy, relay: Relay) -> Suspicion:
    """What speaks against `relay` at the state's time."""
    own = state.relays.get(relay.name)
    if own is None:
        return QUIET
    judge = Judge(state, roster, policy, relay, own)
    if final := _own_word(own):
        return Suspicion(Level.HARD, policy.hard(judge.vantages), (final,))
    probes, long_silence = _weigh_probes(judge)
    node = _weigh_node(judge) if probes else []
    facts = _sum(each for each in probes if each.reason in _HARD_FACTS)
    silence = _sum([*probes, *node]) if long_silence else 0.0
    if max(facts, silence) >= policy.hard(judge.vantages):
        firm = [*probes, *node]
        return Suspicion(Level.HARD, _sum(firm), _ordered(firm))
    slow = _slow(judge)  # comes through the same domains as silence, so only the larger of the two counts
    findings = [*max(probes, slow, key=_sum), *node, *weigh_outcomes(state, policy, relay.name, own)]
    level = Level.SOFT if _sum(findings) >= policy.soft(judge.vantages) else Level.ACTIVE
    return Suspicion(level, _sum(findings), _ordered(findings))


def _sum(findings: Iterable[Finding]) -> float:
    return sum(each.weight for each in findings)


def _ordered(findings: list[Finding]) -> tuple[Finding, ...]:
    by_reason = {reason: _sum(f for f in findings if f.reason is reason) for reason in {f.reason for f in findings}}
    return tuple(sorted(findings, key=lambda each: (-by_reason[each.reason], each.reason, -each.weight, each.where)))


def _own_word(own: RelayState) -> Finding | None:
    if own.exited > own.alive:
        return Finding(Reason.EXITED, "container", 0.0, "its container ended")
    if own.standing.unfit:
        return Finding(Reason.UNFIT, "itself", 0.0, f"says that it cannot serve: {own.standing.unfit}")
    return None


def _weigh_node(judge: Judge) -> list[Finding]:
    if judge.state.lost_nodes.get(judge.relay.node, NEVER) <= judge.own.alive:
        return []
    weight = judge.policy.weight(judge.policy.node_lost)
    return [Finding(Reason.NODE_LOST, judge.relay.node, weight, f"node {judge.relay.node} is lost")]


def _weigh_probes(judge: Judge) -> tuple[list[Finding], bool]:
    """The largest finding of each domain, and whether the silence is long and seen from two nodes."""
    alive = _alive(judge)
    domains: dict[tuple[str, str], Finding] = {}
    silences: dict[Source, Silence] = {}
    for source, probing in judge.watched():
        silences[source] = silence = _silence(judge, source, probing, alive)
        for finding in (*_silent(source, silence), *_facts(judge, source, probing)):
            domain = (source.vantage, source.path)
            if domain not in domains or finding.weight > domains[domain].weight:
                domains[domain] = finding
    if len(_silent_nodes(judge, silences)) >= 2:
        return list(domains.values()), True
    return _excuse(judge, list(domains.values()), silences), False


def _alive(judge: Judge) -> float:
    """Live traffic that the relay reports refutes silence too, unless vantages on two nodes cannot get a word out of it."""
    silent = {
        s.vantage
        for s, each in judge.watched()
        if s.path != TELEMETRY and any(x > judge.own.alive for x in each.unanswered)
    }
    nodes = {vantage.node for vantage in judge.roster.vantages if vantage.name in silent}
    return judge.own.alive if len(nodes) >= 2 else max(judge.own.alive, judge.own.lively)


@dataclass(frozen=True, slots=True)
class Silence:
    """One source's open silence: its length in seconds, what its probes weigh, and how many of them are suspicious."""

    length: float
    weight: float
    count: int


_NO_SILENCE = Silence(0.0, 0.0, 0)


def _silence(judge: Judge, source: Source, probing: Probing, alive: float) -> Silence:
    """As far as the source is known to see: a burst gap beyond the last proof at most."""
    if not probing.unanswered:
        return _NO_SILENCE
    end = min(probing.as_of, judge.proven(source, probing.as_of) + judge.policy.burst_gap)
    view = judge.state.views.get(source, View())
    open_ = [sent for sent in probing.unanswered if alive < sent < end and view.blames(sent)]
    pace = view.pace
    length = end - open_[0] if open_ else 0.0
    weight = sum(_one_probe(judge, end - sent - pace) for sent in open_) if length >= judge.policy.brief else 0.0
    count = sum(suspicious(end - sent, judge.policy) for sent in open_)
    return Silence(length, weight, count)


def _one_probe(judge: Judge, length: float) -> float:
    """A probe open for so long, beyond what other relays take just now: worth at most ln(failed / loss)."""
    loss = judge.policy.loss
    return judge.policy.weight(max(loss, judge.own.tail.unanswered(max(0.0, length), loss)))


def _excuse(judge: Judge, findings: list[Finding], silences: Mapping[Source, Silence]) -> list[Finding]:
    """All vantages see the same silence of one relay, so together it counts for no more than it is rare."""
    silent = _sum(each for each in findings if each.reason is Reason.SILENT)
    if silent == 0:
        return findings
    count = sum(each.count for source, each in silences.items() if source.path != TELEMETRY)
    most = judge.policy.weight(judge.own.tail.together(count, judge.policy.loss))
    if max(each.length for each in silences.values()) >= judge.policy.excusable:
        most = max(most, judge.policy.soft(judge.vantages))
    share = min(1.0, most / silent)
    return [each.scaled(share) if each.reason is Reason.SILENT else each for each in findings]


def _silent_nodes(judge: Judge, silences: Mapping[Source, Silence]) -> set[str]:
    """Nodes from which the relay has been silent for long; the cluster's own word that its node is lost counts as one."""
    long = {source.vantage for source, each in silences.items() if each.length >= judge.policy.hard_silence}
    nodes = {vantage.node for vantage in judge.roster.vantages if vantage.name in long}
    if nodes and judge.state.lost_nodes.get(judge.relay.node, NEVER) > judge.own.alive:
        nodes.add(f"node status of {judge.relay.node}")
    return nodes


def _silent(source: Source, silence: Silence) -> Iterator[Finding]:
    if silence.weight <= 0:
        return
    where = f"{source.vantage}/{source.path}"
    text = f"no answer to {where} ({source.probe.value}) for {silence.length:.2f} s"
    yield Finding(Reason.SILENT, where, silence.weight, text)


def _facts(judge: Judge, source: Source, probing: Probing) -> Iterator[Finding]:
    if not probing.refused and not probing.resets:
        return
    where, policy = f"{source.vantage}/{source.path}", judge.policy
    end = judge.proven(source, judge.state.clock)
    if refused := sum(judge.own.alive < at <= end for at in probing.refused):
        weight = refused * policy.weight(policy.refused)
        yield Finding(Reason.REFUSING, where, weight, f"refused {where} {refused} times")
    if resets := sum(judge.own.alive < at <= end for at in probing.resets):
        weight = resets * policy.weight(policy.reset)
        yield Finding(Reason.RESETTING, where, weight, f"reset {resets} sessions of {where}")


def _slow(judge: Judge) -> list[Finding]:
    """Late and lost answers beyond what the same vantage has with other relays; all vantages that watch must agree."""
    sums: dict[str, float] = {}
    for source, probing in judge.watched():
        if source.path != TELEMETRY:
            excess = max(0.0, probing.late - _usual(judge, source)) if probing.late > 0 else 0.0
            sums[source.vantage] = max(excess, sums.get(source.vantage, 0.0))
    least = min(sums.values(), default=0.0)
    return [Finding(Reason.SLOW, vantage, least, f"late or lost answers to {vantage}") for vantage in sums if least > 0]


def _usual(judge: Judge, source: Source) -> float:
    others = sorted(
        each.probing[source].late
        for name, each in judge.state.relays.items()
        if name != judge.relay.name and source in each.probing
    )
    return others[len(others) // 2] if others else 0.0


def wants_burst(judge: Judge) -> set[Probe]:
    """The kinds of probe of which a burst would tell more: a silence, refusal or error that is young."""
    policy, clock = judge.policy, judge.state.clock
    kinds: set[Probe] = set()
    for source, probing in judge.watched():
        first = min((s for s in probing.unanswered if s > judge.own.alive), default=clock)
        length = probing.as_of - first
        silent = suspicious(length, policy) and length <= policy.hard_silence + LAPSE
        told = any(max(judge.own.alive, clock - LAPSE) < at for at in (*probing.refused, *probing.resets))
        if source.path != TELEMETRY and (silent or told):
            kinds.add(source.probe)
    for subject, trial in judge.own.trials.items():
        if _young_error(subject, trial, clock):
            kinds.add(_CLOSER.get(subject.name, Probe.TRANSACTION))
    return kinds


def _young_error(subject: Subject, trial: Trial, clock: float) -> bool:
    """A relay began to turn mail away, probes or clients, and there is not yet enough to judge by."""
    return subject.kind is Reason.ERRING and 0 < len(trial.bad) < FAILURES and clock - trial.at <= LAPSE
