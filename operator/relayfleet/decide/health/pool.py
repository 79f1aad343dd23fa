"""From each relay's standing to the pool's verdicts: never all, and a person's orders first.

Hard cordons, and soft ones for slowness or errors, share a cap (`max_cordoned`); soft cordons of silent or refusing relays need
none, because stock kube-proxy falls back on them when nothing else is ready. When no relay is left, the best of those that are
left serve on as if nothing were known, and an alert says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.roster import Relay
from relayfleet.decide.health.state import FULL, Standing
from relayfleet.decide.health.suspicion import QUIET, Suspicion
from relayfleet.decide.health.verdict import Verdict
from relayfleet.decide.health.words import CAPPED, Level, Manual, Reason


@dataclass(frozen=True, slots=True)
class Case:
    """One relay with its standing, the weight that its ramp and strain allow, and its evidence."""

    relay: Relay
    standing: Standing
    weight: int
    suspicion: Suspicion


def verdicts(cases: Sequence[Case], policy: Policy, clock: float) -> tuple[tuple[Verdict, ...], Reason | None]:
    """The verdicts in the order of the cases, and an alert when marks had to be ignored."""
    free = [case for case in cases if case.relay.manual is Manual.NONE]
    within = _within_cap(free, allowed(len(cases), policy))
    given = [_verdict(case, case.relay.name in within, clock) for case in cases]
    return _never_all(given, {case.relay.name: case.relay.manual for case in cases})


def allowed(relays: int, policy: Policy) -> int:
    """How many capped cordons a pool of this size bears: at least one of two or more, never all."""
    return min(relays - 1, max(1, int(relays * policy.max_cordoned))) if policy.max_cordoned > 0 and relays > 1 else 0


def _capped(standing: Standing) -> bool:
    return standing.level is Level.HARD or (standing.level is Level.SOFT and standing.reason in CAPPED)


def _within_cap(cases: Sequence[Case], limit: int) -> frozenset[str]:
    """The relays whose capped cordons stand: hard ones first, then those that fail before those that are only slow, then the oldest."""
    asking = [case for case in cases if _capped(case.standing)]
    asking.sort(key=lambda case: (*_urgency(case.standing), case.standing.since, case.relay.name))
    return frozenset(case.relay.name for case in asking[:limit])


def _urgency(standing: Standing) -> tuple[int, bool]:
    """Least first. Busy nodes make good relays slow, a few at a time; they shall not keep a relay in traffic that turns mail away."""
    return -standing.level.severity, standing.reason is Reason.SLOW


def _verdict(case: Case, within: bool, clock: float) -> Verdict:
    standing, suspicion = case.standing, case.suspicion
    if suspicion is QUIET and case.weight == FULL and case.relay.manual is Manual.NONE:
        return Verdict(
            case.relay.name, Level.ACTIVE, FULL, Reason.HEALTHY, QUIET.message, 0.0, (), clock - standing.since
        )
    verdict = Verdict(
        case.relay.name,
        standing.level,
        case.weight,
        standing.reason,
        standing.message,
        suspicion.total,
        suspicion.findings,
        clock - standing.since,
    )
    if case.relay.manual is Manual.CORDON:
        return replace(verdict, level=Level.HARD, reason=Reason.ORDERED, message="cordoned by order")
    if case.relay.manual is Manual.UNCORDON:
        but = f", although {suspicion.message}" if suspicion.level is not Level.ACTIVE else ""
        message = f"kept in traffic by order{but}"
        return replace(verdict, level=Level.ACTIVE, weight=FULL, reason=Reason.KEPT_IN_TRAFFIC, message=message)
    if _capped(standing) and not within:
        return _held_back(verdict)
    return verdict if standing.level is not Level.ACTIVE else _in_traffic(verdict, case)


def _in_traffic(verdict: Verdict, case: Case) -> Verdict:
    if case.weight == FULL:
        return replace(verdict, reason=Reason.HEALTHY, message="answers as usual")
    if case.standing.eased == case.weight:
        share = round(case.standing.strain * 100)
        return replace(verdict, reason=Reason.STRAINED, message=f"{share} % of its tightest limit in use")
    return replace(verdict, reason=Reason.RAMPING_UP, message=f"back in traffic with {case.weight} of {FULL} quarters")


def _held_back(verdict: Verdict) -> Verdict:
    """Over the cap: a hard cordon becomes soft; a soft one for slowness or errors becomes the smallest weight."""
    message = f"{verdict.message}; held back by maxCordoned"
    if verdict.level is Level.HARD and verdict.reason not in CAPPED:
        return replace(verdict, level=Level.SOFT, message=message)
    return replace(verdict, level=Level.ACTIVE, weight=1, message=message)


def _never_all(given: list[Verdict], manual: dict[str, Manual]) -> tuple[tuple[Verdict, ...], Reason | None]:
    if not given or any(each.level is Level.ACTIVE for each in given):
        return tuple(given), None
    free = [each for each in given if manual[each.relay] is Manual.NONE]
    if not free:  # a person cordoned all of them: obeyed as far as the last resort of the data plane allows
        return tuple(
            replace(each, level=Level.SOFT, message=f"{each.message}; all are") for each in given
        ), Reason.ALL_BAD
    best = min(each.level.severity for each in free)
    spared = {each.relay for each in free if each.level.severity == best}
    return tuple(_spare(each) if each.relay in spared else each for each in given), Reason.ALL_BAD


def _spare(verdict: Verdict) -> Verdict:
    message = f"every relay looks bad, so marks are ignored; this one: {verdict.message}"
    return replace(verdict, level=Level.ACTIVE, weight=FULL, reason=Reason.ALL_BAD, message=message)
