"""Taking evidence in: the remembered state with a batch of observations added. Nothing is judged here.

Evidence comes from machines that may be broken or lie, so it is bounded: about relays and vantages that exist, at finite
times not long ago, and no more of it from a relay about itself than a relay can honestly have. What is left out is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from relayfleet.decide.health import evidence as seen
from relayfleet.decide.health.evidence import Evidence, Probe
from relayfleet.decide.health.outcomes import forgiven
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.roster import Roster
from relayfleet.decide.health.state import (
    DARK,
    MAX_STEP,
    NEVER,
    Probing,
    RelayState,
    Sightings,
    Source,
    State,
    Subject,
    Trial,
    View,
)
from relayfleet.decide.health.tail import Tail
from relayfleet.decide.health.words import Level, Reason

TELEMETRY = "telemetry"
"""The path of heartbeats: from the relay to the vantage."""

ENVELOPES, PROBE_MAILS, CLIENTS = "probe envelopes", "probe mails", "clients"
"""Whose mail a relay turns away. Each is compared with its like: clients may need a database that probe mails do not, and an envelope
needs no queue, so that relays which take envelopes prove nothing while the queue is down."""
MAILS = {Probe.TRANSACTION: ENVELOPES, Probe.STORAGE: PROBE_MAILS}
CONNECTIONS = "new connections"
"""A relay that answers old sessions and greets no new one turns these away."""
TRIED = MAILS | {Probe.CONNECT: CONNECTIONS}

OPEN_PROBES = 16
"""So many unanswered probes of one source are kept, the oldest: they tell the length of a silence."""
FAILURES = 4
"""So many failures of one kind are kept: enough for a cordon."""
_STALE = 10.0
_OWN_WORDS = 256
_TRIALS = 64
_WINDOW = 0.1
_FORGET = 600.0
_CEILING = 60.0
_SAME = 1e-6
_TICK = 0.001
_KIND = {seen.ServiceKind.RESOLVER: Reason.RESOLVER_DOWN, seen.ServiceKind.DEPENDENCY: Reason.DEPENDENCY_DOWN}


def fold(state: State, batch: Iterable[Evidence], roster: Roster, policy: Policy, now: float) -> tuple[State, int]:
    """The state at `now` with the batch in it, and how many observations were left out."""
    folding = Folding(state, roster, policy, now)
    for each in batch:
        folding.take(each)
    return folding.result(), folding.ignored


class Folding:
    """A state in the making; lives no longer than one call of `fold`."""

    def __init__(self, state: State, roster: Roster, policy: Policy, now: float) -> None:
        step = 0.0 if state.seen is None else min(max(0.0, now - state.seen), MAX_STEP)
        self.ignored = 0
        self._policy, self._now, self._clock = policy, now, state.clock + step
        self._names = {relay.name for relay in roster.relays}
        self._vantages = {vantage.name for vantage in roster.vantages}
        self._relays = {name: each for name, each in state.relays.items() if name in self._names}
        self._views = {source: each for source, each in state.views.items() if source.vantage in self._vantages}
        self._worked = dict(state.worked)
        self._lost = {node: at for node, at in state.lost_nodes.items() if any(node == r.node for r in roster.relays)}
        self._own_words: dict[str, int] = {}

    def result(self) -> State:
        """The state as it has become."""
        recent = {shared: each for shared, each in self._worked.items() if self._clock - each.first_at < _FORGET}
        return State(self._clock, self._now, self._relays, self._views, recent, self._lost)

    def take(self, each: Evidence) -> None:
        """Add one observation, or count it as left out."""
        age = self._now - each.at
        if not math.isfinite(age) or age > _STALE:
            self.ignored += 1
            return
        at = self._clock - max(0.0, age)
        if isinstance(each, seen.NodeFact):
            self._node(each, at)
        elif each.relay not in self._names:
            self.ignored += 1
        elif isinstance(each, seen.Exited):
            self._put(each.relay, exited=at)
        elif isinstance(each, seen.OwnEvidence):
            self._own(each, at)
        elif each.vantage not in self._vantages:
            self.ignored += 1
        elif isinstance(each, seen.Heartbeat):
            self._heartbeat(each, at)
        else:
            self._probe(each, at)

    def _node(self, fact: seen.NodeFact, at: float) -> None:
        if fact.lost:
            self._lost.setdefault(fact.node, at)
        else:
            self._lost.pop(fact.node, None)

    # -- probes

    def _probe(self, each: seen.ProbeEvidence, at: float) -> None:
        source = Source(each.vantage, each.path, each.probe)
        match each:
            case seen.Answered() | seen.Erred():
                self._reply(each, source, at)
            case seen.Silent():
                self._silence(each, source, at)
            case seen.Refused() | seen.Reset():
                self._trouble(each, source, at)

    def _trouble(self, each: seen.Refused | seen.Reset, source: Source, at: float) -> None:
        probing = self._probing(each.relay, source)
        probing = replace(probing, as_of=max(at, probing.as_of))
        if isinstance(each, seen.Refused):
            probing = replace(probing, refused=_latest(probing.refused, at))
        elif source.probe not in MAILS:
            probing = replace(probing, resets=_latest(probing.resets, at))
        self._set(each.relay, source, probing)
        if isinstance(each, seen.Reset) and source.probe in MAILS:
            # Whether the relay is dead the dialogue says; that it breaks off a mail is an error, and never final.
            self._mail(each.relay, source, good=False, at=at)
        self._recover(each.relay, good=False)

    def _silence(self, each: seen.Silent, source: Source, at: float) -> None:
        probing = self._probing(each.relay, source)
        sent = sorted(at - (each.at - s) for s in each.sent if math.isfinite(s) and s <= each.at)
        still = tuple(s for s in sent if s > probing.answered)[:OPEN_PROBES]
        if at < probing.as_of:
            return
        self._set(each.relay, source, replace(probing, unanswered=still, as_of=at))
        alive = self._relay(each.relay).alive
        if any(s > alive and at - s > self._policy.timeout for s in still):
            self._recover(each.relay, good=False)
        if source.probe in TRIED:
            self._hung(each.relay, source, still, at)

    def _hung(self, relay: str, source: Source, sent: Iterable[float], at: float) -> None:
        """Mails and new connections without a reply, though the same vantage got one to something younger: each is turned away, once, when it
        became late. What was sent while the vantage heard from nobody is its own loss, also when that ends before such a connection does."""
        heard = (p.answered for s, p in self._relay(relay).probing.items() if s[:2] == source[:2])
        subject = _tried(source)
        alive, known = max(heard, default=NEVER), self._relay(relay).trials.get(subject, Trial()).at
        view = self._eyes(source)
        for each in sent:
            late = each + self._policy.timeout
            seeing = each < view.heard.first_at and view.blames(each)
            if seeing and each < alive and known < late <= at + _TICK:
                self._outcome(relay, subject, good=False, at=late)

    def _reply(self, each: seen.Answered | seen.Erred, source: Source, at: float) -> None:
        if not (math.isfinite(each.latency) and each.latency >= 0):
            self.ignored += 1
            return
        probing, sent = self._probing(each.relay, source), at - each.latency
        if sent < probing.answered:
            self._straggler(each.relay, source, sent, at)
            return
        # The queue's time is not the relay's: a mail that was confirmed was in time, and its latency is no measure of silences.
        stored = source.probe is Probe.STORAGE
        relay, prompt = self._relay(each.relay), stored or each.latency < self._policy.timeout
        healthy = relay.standing.level is Level.ACTIVE and not stored
        self._hear(source, each.relay, each.latency if healthy else None, at)
        overtaken, lost = self._parted(probing, source, sent, at)
        answered = self._answered(probing, overtaken, lost, sent, at, prompt)
        tail = None
        if healthy:  # what this answer ends is a silence of a healthy relay
            refuted = sum(s < sent and suspicious(at - s, self._policy) for s in open_probes(relay))
            tail = relay.tail.seen(each.latency, lost, refuted)
        self._set(each.relay, source, answered, alive=max(relay.alive, sent), tail=tail)
        good = isinstance(each, seen.Answered)
        if source.probe in MAILS or not good:
            self._mail(each.relay, source, good=good, at=at)
        elif source.probe in TRIED:
            self._outcome(each.relay, _tried(source), good=True, at=at)
        self._recover(each.relay, good and prompt)

    def _straggler(self, relay: str, source: Source, sent: float, at: float) -> None:
        """A younger probe was answered first. One socket's packets are sent again while another's come through, and a relay that wakes up
        answers those who wait in any order: that is no loss, unless it is late."""
        probing = self._probing(relay, source)
        overtaken = tuple(s for s in probing.overtaken if abs(s - sent) > _TICK)
        if overtaken != probing.overtaken and at - sent < self._policy.timeout:
            known = self._relay(relay)
            healthy = known.standing.level is Level.ACTIVE and source.probe is not Probe.STORAGE
            tail = known.tail.late_comer(at - sent) if healthy else known.tail
            self._set(relay, source, replace(probing, overtaken=overtaken), tail=tail)

    def _parted(self, probing: Probing, source: Source, sent: float, at: float) -> tuple[tuple[float, ...], int]:
        """Of those that this answer or an earlier one overtook: which may still be answered in time, and how many are late by now."""
        if not probing.unanswered and not probing.overtaken:  # nearly always
            return (), 0
        views = (self._views[source], self._eyes(source))
        passed = (s for s in probing.unanswered if s < sent - _SAME and all(view.blames(s) for view in views))
        overtaken = (*probing.overtaken, *passed)
        still = tuple(s for s in overtaken if at - s < self._policy.timeout)
        return still[:OPEN_PROBES], len(overtaken) - len(still)

    def _answered(
        self, probing: Probing, overtaken: tuple[float, ...], lost: int, sent: float, at: float, prompt: bool
    ) -> Probing:
        """Lost and late probes add to Page's sum, a prompt answer takes off."""
        change = -self._policy.relief if prompt else self._policy.weight(self._policy.loss)
        late = probing.late + lost * self._policy.weight(self._policy.loss) + change
        still = tuple(s for s in probing.unanswered if s > sent + _SAME)
        worse = at if lost or not prompt else probing.worse
        return Probing(still, overtaken, max(at, probing.as_of), sent, late=min(max(0.0, late), _CEILING), worse=worse)

    def _hear(self, source: Source, relay: str, latency: float | None, at: float) -> None:
        """Another answer to this source; `latency` None: it says nothing of how fast healthy relays are."""
        view = self._views.get(source) or View()
        step = 0.0 if latency is None else 0.1 * (min(latency, self._policy.excusable) - view.pace)
        last = view.heard.first_at
        dark = view.dark
        if len(self._names) > 1 and at - last > self._policy.timeout:
            dark = (*dark, (last, at))[-DARK:]
        self._views[source] = View(view.heard.seen(relay, at), view.pace + step, dark)

    def _eyes(self, source: Source) -> View:
        """What the same vantage sees by the probes that it sends most often: whether it sees at all."""
        return self._views.get(source._replace(probe=Probe.DIALOGUE), View())

    def _heartbeat(self, each: seen.Heartbeat, at: float) -> None:
        if not math.isfinite(each.late):
            self.ignored += 1
            return
        source = Source(each.vantage, TELEMETRY, Probe.DIALOGUE)
        if at < self._probing(each.relay, source).as_of:
            return
        if each.late > 0:
            self._set(each.relay, source, Probing(unanswered=(at - each.late,), as_of=at))
        else:
            self._set(each.relay, source, Probing(as_of=at, answered=at))
            self._hear(source, each.relay, None, at)

    # -- what a relay says itself

    def _own(self, each: seen.OwnEvidence, at: float) -> None:
        words = self._own_words[each.relay] = self._own_words.get(each.relay, 0) + 1
        if words > _OWN_WORDS:
            self.ignored += 1
            return
        match each:
            case seen.OwnReport():
                self._report(each)
            case seen.Intake():
                self._counts(each.relay, Subject(Reason.ERRING, CLIENTS, ""), each.accepted, each.deferred, at)
                if each.accepted > 0:
                    self._put(each.relay, lively=max(at, self._relay(each.relay).lively))
            case seen.Confirms():
                subject = Subject(Reason.BROKER_UNREACHABLE, each.broker, "")
                self._counts(each.relay, subject, each.confirmed, each.late, at)
            case seen.Deliveries():
                subject = Subject(Reason.EGRESS_FAILING, each.provider, each.source)
                failed = each.connect_failed + each.timed_out + each.reset
                self._counts(each.relay, subject, each.replied, failed, at)
            case seen.Lookups():
                self._counts(each.relay, Subject(_KIND[each.kind], each.name, ""), each.answered, each.failed, at)

    def _report(self, each: seen.OwnReport) -> None:
        if not (math.isfinite(each.strain) and each.strain >= 0):
            self.ignored += 1
            return
        standing = replace(self._relay(each.relay).standing, unfit=each.unfit[:200], strain=min(each.strain, 1.0))
        self._put(each.relay, standing=standing)

    def _counts(self, relay: str, subject: Subject, good: int, bad: int, at: float) -> None:
        if good < 0 or bad < 0 or good + bad == 0:
            self.ignored += good < 0 or bad < 0
            return
        self._outcome(relay, subject, good=good > bad, at=at)

    def _mail(self, relay: str, source: Source, *, good: bool, at: float) -> None:
        self._outcome(relay, _mails(source), good=good, at=at)

    def _outcome(self, name: str, subject: Subject, *, good: bool, at: float) -> None:
        """A window counts once, however much was in it: its outcomes share their cause."""
        trial = self._relay(name).trials.get(subject, Trial())
        if good:
            for shared in subject.shared:
                self._works(shared, name, trial, at)
            trial = self._relay(name).trials.get(subject, Trial())
            trial = Trial(trial.bad[1:], max(at, trial.good), at, trial.worse)
        elif not trial.bad or at - trial.at >= _WINDOW:
            trial = Trial((*trial.bad, at)[:FAILURES], trial.good, at, worse=at)
            if subject.kind is Reason.ERRING:
                self._recover(name, good=False)
        self._put(name, trials=self._bounded({**self._relay(name).trials, subject: trial}))

    def _works(self, shared: Subject, name: str, trial: Trial, at: float) -> None:
        known = self._worked.get(shared, Sightings())
        if trial.bad and trial.bad[-1] > known.first_at:
            self._relays |= forgiven(self._relays, shared, known.first_at)
        self._worked[shared] = known.seen(name, at)

    def _bounded(self, trials: dict[Subject, Trial]) -> dict[Subject, Trial]:
        if len(trials) <= _TRIALS:
            return trials
        self.ignored += 1
        newest = sorted(trials, key=lambda subject: trials[subject].at)[-_TRIALS:]
        return {subject: trials[subject] for subject in newest}

    # -- small change

    def _relay(self, name: str) -> RelayState:
        return self._relays.get(name) or RelayState()

    def _probing(self, name: str, source: Source) -> Probing:
        return self._relay(name).probing.get(source, Probing())

    def _put(self, name: str, **changes: object) -> None:
        self._relays[name] = replace(self._relay(name), **changes)  # type: ignore[arg-type]

    def _set(
        self, name: str, source: Source, probing: Probing, *, alive: float | None = None, tail: Tail | None = None
    ) -> None:
        known = self._relay(name).probing
        if source not in known:
            known = {key: each for key, each in known.items() if key.vantage in self._vantages}
            if len(known) >= _TRIALS:
                self.ignored += 1
                return
        was = self._relay(name)
        self._relays[name] = RelayState(
            was.standing,
            {**known, source: probing},
            was.trials,
            tail or was.tail,
            was.alive if alive is None else alive,
            was.lively,
            was.exited,
        )

    def _recover(self, name: str, good: bool) -> None:
        """Page's sum the other way round, kept only while a relay is out of traffic."""
        standing = self._relay(name).standing
        if standing.level is not Level.ACTIVE:
            change = self._policy.relief if good else -self._policy.weight(self._policy.loss)
            recovery = min(max(0.0, standing.recovery + change), _CEILING)
            self._put(name, standing=replace(standing, recovery=recovery))


def open_probes(relay: RelayState) -> Iterable[float]:
    """When the probes were sent that are still open and were sent after the last one that was answered, by any way."""
    return (
        sent
        for source, each in relay.probing.items()
        if source.path != TELEMETRY
        for sent in each.unanswered
        if sent > relay.alive
    )


def suspicious(open_for: float, policy: Policy) -> bool:
    """Whether a probe has been open for so long that it starts a burst; a prober's timer may fire a little early."""
    return open_for >= policy.suspect_after - _TICK


def _mails(source: Source) -> Subject:
    """A relay that errs in a mere dialogue would take no envelope either."""
    return Subject(Reason.ERRING, MAILS.get(source.probe, ENVELOPES), source.vantage)


def _tried(source: Source) -> Subject:
    """What a probe without a reply is about."""
    return Subject(Reason.ERRING, TRIED[source.probe], source.vantage)


def _latest(times: tuple[float, ...], at: float) -> tuple[float, ...]:
    return tuple(sorted((*times, at))[-FAILURES:])
