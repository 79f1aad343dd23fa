"""The whole of it: evidence in, verdicts out. One pure function; the caller brings the time and keeps the state.

decision = decide(policy, state, batch, roster, now)
state = decision.state            # for the next call; `store` keeps its lasting part over a restart
prober.burst(decision.bursts)     # look closer, at once
traffic.apply(decision.verdicts)  # levels and weights
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from relayfleet.decide.health.blindness import blind_spots
from relayfleet.decide.health.evidence import Evidence, Probe
from relayfleet.decide.health.fold import TELEMETRY, fold
from relayfleet.decide.health.lapse import afresh, lapsed
from relayfleet.decide.health.outcomes import shared_faults
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.pool import Case, verdicts
from relayfleet.decide.health.roster import Relay, Roster
from relayfleet.decide.health.standing import EASY, Damping
from relayfleet.decide.health.state import FULL, NEVER, RelayState, Standing, State
from relayfleet.decide.health.suspicion import QUIET, Judge, Suspicion, wants_burst, weigh
from relayfleet.decide.health.verdict import Burst, Decision
from relayfleet.decide.health.words import Level, Manual, Reason

_NEW = RelayState()
_IDLE = 1.0
"""Longest time between two decisions, in seconds."""


def decide(policy: Policy, state: State, batch: Iterable[Evidence], roster: Roster, now: float) -> Decision:
    """The verdicts on `roster` at `now` (monotonic seconds), given all evidence so far."""
    folded, ignored = fold(state, batch, roster, policy, now)
    damping = Damping(policy, len(roster.vantages))
    quiet = {name for name, each in folded.relays.items() if _quiet(each)}
    relays = {
        name: each if name in quiet else lapsed(each, policy, folded.clock) for name, each in folded.relays.items()
    }
    folded = replace(folded, relays=relays)
    cases, restless = [], []
    for relay in roster.relays:
        own = relays.get(relay.name, _NEW)
        if relay.name in quiet or _quiet(own):
            cases.append(Case(relay, own.standing, FULL, QUIET))
            continue
        suspicion = weigh(folded, roster, policy, relay)
        standing = _standing(damping, relay, own.standing, suspicion, folded.clock)
        standing = own.standing if roster.paused else standing
        if standing is not own.standing:
            back = standing.level is Level.ACTIVE is not own.standing.level
            relays[relay.name] = replace(afresh(own) if back else own, standing=standing)
        cases.append(Case(relay, standing, damping.weight(standing, folded.clock), suspicion))
        restless.append(relay)
    given, alert = verdicts(cases, policy, folded.clock)
    after = replace(folded, relays=relays)
    bursts = _bursts(after, roster, policy, restless)
    causes = (*blind_spots(after, roster, policy, restless), *shared_faults(after, restless))
    waits = [damping.next_step(relays[relay.name].standing, folded.clock) for relay in restless]
    wait = min([policy.burst_gap if bursts else _IDLE, *waits])
    return Decision(after, given, causes, alert, bursts, now + wait, ignored)


def _standing(damping: Damping, relay: Relay, before: Standing, suspicion: Suspicion, clock: float) -> Standing:
    """Who is kept in traffic by order starts afresh: a person who looked knows better than the count of its cordons."""
    if relay.manual is not Manual.UNCORDON:
        return damping.follow(before, suspicion, clock)
    return replace(before, level=Level.ACTIVE, reason=Reason.HEALTHY, message="", since=NEVER, cordons=0, recovery=0.0)


def _quiet(own: RelayState) -> bool:
    """Nothing speaks against the relay and nothing is left from before: the case of nearly all relays at nearly all times."""
    standing = own.standing
    return (
        standing.cordons == 0
        and standing.eased == FULL
        and standing.strain <= EASY
        and not standing.unfit
        and own.exited <= own.alive
        and not any(each.unanswered or each.refused or each.resets or each.late for each in own.probing.values())
        and not any(trial.bad for trial in own.trials.values())
    )


def _bursts(state: State, roster: Roster, policy: Policy, restless: Sequence[Relay]) -> tuple[Burst, ...]:
    wanted: dict[Burst, None] = {}
    for relay in restless:
        for probe in sorted(wants_burst(Judge(state, roster, policy, relay, state.relays[relay.name]))):
            wanted[Burst(relay.name, probe)] = None
            for reference in _references(state, relay.name, probe):
                wanted[Burst(reference, probe)] = None
    return tuple(wanted)


def _references(state: State, suspect: str, probe: Probe) -> list[str]:
    """For each source the relay that answered it last: if that one answers now, the source sees."""
    views = [view for source, view in state.views.items() if source.probe is probe and source.path != TELEMETRY]
    return sorted({view.heard.besides(suspect)[0] for view in views} - {""})
