"""What live traffic and probe transactions say, and whom it blames: one relay, or something that all relays share.

A failed window counts against a relay only up to the last moment at which the same thing worked for another relay. When the
queue, a resolver, a database or an ISP is down, it works for nobody from then on, and nobody is blamed for it. When it is back, what
failed meanwhile is forgiven to all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from relayfleet.decide.health.findings import Finding
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.roster import Relay
from relayfleet.decide.health.state import NEVER, RelayState, Sightings, State, Subject, Trial
from relayfleet.decide.health.words import Reason

_PROVIDER_LIMIT = 2
"""One provider counts for so many failed windows at most: too little for a cordon, so one dead ISP never makes one."""

_SHARED_DOWN = {
    Reason.ERRING: (Reason.POOL_ERRING, "no relay takes the mail of {name}"),
    Reason.BROKER_UNREACHABLE: (Reason.BROKER_DOWN, "no relay gets confirms from broker {name}"),
    Reason.EGRESS_FAILING: (Reason.DESTINATION_DOWN, "no relay reaches {name}"),
    Reason.RESOLVER_DOWN: (Reason.RESOLVER_DOWN, "no relay gets answers from resolver {name}"),
    Reason.DEPENDENCY_DOWN: (Reason.DEPENDENCY_DOWN, "no relay gets answers from {name}"),
}


def weigh_outcomes(state: State, policy: Policy, relay: str, own: RelayState) -> list[Finding]:
    """What outcomes say against one relay. Resolvers and other dependencies never do: relays answer for that by their intake."""
    window = policy.weight(policy.loss)
    findings = []
    for subject, trial in own.trials.items():
        if trial.bad and subject.kind in (Reason.ERRING, Reason.BROKER_UNREACHABLE):
            until = _worked(state, subject, relay)
            findings.append(_blame(subject, sum(at <= until for at in trial.bad), window))
    egress = [(subject, trial) for subject, trial in own.trials.items() if subject.kind is Reason.EGRESS_FAILING]
    findings += _weigh_egress(state, relay, egress, window)
    return [each for each in findings if each.weight > 0]


def _weigh_egress(state: State, relay: str, egress: list[tuple[Subject, Trial]], window: float) -> list[Finding]:
    """The relay reaches no destination at all, though others reach the same ones from the same addresses."""
    failing = [(subject, trial) for subject, trial in egress if trial.bad]
    since = min((trial.bad[0] for _, trial in failing), default=NEVER)
    if not failing or any(trial.good >= since for _, trial in egress):
        return []
    worst: dict[str, Finding] = {}
    for subject, trial in failing:
        until = _worked(state, subject, relay)
        failures = min(_PROVIDER_LIMIT, sum(at <= until for at in trial.bad))
        finding = _blame(subject, failures, window)
        if subject.name not in worst or finding.weight > worst[subject.name].weight:
            worst[subject.name] = finding
    return list(worst.values())


def _worked(state: State, subject: Subject, relay: str) -> float:
    """Until when all that the subject shares is known to have worked for another relay."""
    return min(state.worked.get(shared, Sightings()).besides(relay)[1] for shared in subject.shared)


def _blame(subject: Subject, failures: int, window: float) -> Finding:
    texts = {
        Reason.ERRING: f"turned {subject.name} away in {failures} windows, while other relays took them",
        Reason.BROKER_UNREACHABLE: f"no confirms from broker {subject.name} in {failures} windows, while other relays got them",
        Reason.EGRESS_FAILING: f"does not reach {subject.name} from {subject.via}, while other relays do",
    }
    return Finding(subject.kind, f"{subject.name}@{subject.via}", failures * window, texts[subject.kind])


def forgiven(relays: Mapping[str, RelayState], shared: Subject, since: float) -> dict[str, RelayState]:
    """The relays that change when a shared thing is back that has worked for nobody since then. If it failed for two or more, what failed
    meanwhile is the fault of none of them: that it works from now on shall not be held against those who are asked a moment later."""
    failing = {
        name: [
            each
            for each, trial in relay.trials.items()
            if shared in each.shared and since < max(trial.bad, default=NEVER)
        ]
        for name, relay in relays.items()
    }
    failing = {name: subjects for name, subjects in failing.items() if subjects}
    if len(failing) < 2:
        return {}
    return {name: _without(relays[name], subjects, since) for name, subjects in failing.items()}


def _without(relay: RelayState, subjects: Iterable[Subject], since: float) -> RelayState:
    trials = dict(relay.trials)
    for each in subjects:
        trials[each] = replace(trials[each], bad=tuple(at for at in trials[each].bad if at <= since))
    return replace(relay, trials=trials)


def shared_faults(state: State, restless: Iterable[Relay]) -> list[Finding]:
    """Shared things that fail for two relays or more and have worked for nobody since. `weight`: how many relays say so."""
    failing: dict[Subject, dict[str, float]] = defaultdict(dict)
    for relay in restless:
        for subject, trial in state.relays[relay.name].trials.items():
            if trial.bad:
                relays = failing[subject.shared[0]]
                relays[relay.name] = min(trial.bad[0], relays.get(relay.name, trial.bad[0]))
    return [
        _fault(thing, relays)
        for thing, relays in sorted(failing.items())
        if len(relays) >= 2 and state.worked.get(thing, Sightings()).first_at < _second(relays.values())
    ]


def _second(times: Iterable[float]) -> float:
    return sorted(times)[1]


def _fault(thing: Subject, relays: dict[str, float]) -> Finding:
    reason, text = _SHARED_DOWN[thing.kind]
    return Finding(
        reason, thing.name, float(len(relays)), f"{text.format(name=thing.name)} ({len(relays)} relays say so)"
    )
