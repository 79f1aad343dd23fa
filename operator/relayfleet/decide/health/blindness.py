"""When the fault is in the looking: a vantage that gets answers from nobody, or alone fails to reach a relay.

Nothing here decides: `suspicion` already gives such silence no weight. This says it, so that a person can mend it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from relayfleet.decide.health.findings import Finding
from relayfleet.decide.health.fold import TELEMETRY, TRIED
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.roster import Relay, Roster
from relayfleet.decide.health.state import Probing, Source, State
from relayfleet.decide.health.suspicion import LAPSE
from relayfleet.decide.health.words import Reason


def blind_spots(state: State, roster: Roster, policy: Policy, restless: Iterable[Relay]) -> list[Finding]:
    """Vantages that see no relay at all, and relays that one way does not reach though another does. `weight`: relays concerned.

    `restless`: the relays of the roster that have anything open. Mails and new connections may hang for other
    reasons than the looking, so they say nothing here.
    """
    silent: dict[Source, list[str]] = defaultdict(list)
    disputed: list[Finding] = []
    for relay in restless:
        own = state.relays[relay.name]
        for source, probing in own.probing.items():
            if source.path == TELEMETRY or source.probe in TRIED or not _mute(probing, state.clock, policy):
                continue
            silent[source].append(relay.name)
            if own.alive > probing.unanswered[0] + policy.timeout:
                where = f"{source.vantage}/{source.path}"
                disputed.append(Finding(Reason.PATH_DISPUTED, where, 1.0, f"{relay.name} answers, but not to {where}"))
    blind = {source for source, relays in silent.items() if len(relays) >= 2 and len(relays) == len(roster.relays)}
    texts = {
        source: f"{source.vantage} gets no answer from any relay ({source.probe.value} by {source.path})"
        for source in blind
    }
    return [
        *(Finding(Reason.VANTAGE_BLIND, s.vantage, float(len(roster.relays)), texts[s]) for s in sorted(blind)),
        *disputed,
    ]


def _mute(probing: Probing, clock: float, policy: Policy) -> bool:
    fresh = clock - probing.as_of <= LAPSE
    return fresh and bool(probing.unanswered) and probing.as_of - probing.unanswered[0] > policy.timeout
