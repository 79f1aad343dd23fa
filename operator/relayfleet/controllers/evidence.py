"""From the words of probers and relays to the evidence that decisions are made of: ages become times of this machine's clock."""

from __future__ import annotations

from collections.abc import Iterator

from relayfleet.decide.health.evidence import (
    Answered,
    Confirms,
    Deliveries,
    Erred,
    Evidence,
    Intake,
    Lookups,
    OwnEvidence,
    OwnReport,
    Probe,
    ProbeEvidence,
    Refused,
    Reset,
    ServiceKind,
    Silent,
)
from relayfleet.protocol.probing import Sight
from relayfleet.protocol.telemetry import Window

PoolName = tuple[str, str]
"""Namespace and name."""

PATH = "pod"
"""Probers talk to pods by their addresses, not through the Service."""


def key(namespace: str, pool: str, relay: str) -> str:
    """The name of a relay in the words between leader and prober."""
    return f"{namespace}/{pool}/{relay}"


def split(name: str) -> tuple[PoolName, str]:
    """The pool and the relay of a key. Raises ValueError for a name that is no key."""
    namespace, pool, relay = name.split("/")
    return (namespace, pool), relay


def evidence(vantage: str, relay: str, sight: Sight, now: float) -> ProbeEvidence:
    """One observation. `now`: when it arrived."""
    probe, at = Probe(sight.probe), now - sight.age
    match sight.kind:
        case "Answered":
            return Answered(relay, vantage, PATH, probe, at, sight.latency)
        case "Silent":
            return Silent(relay, vantage, PATH, probe, at, tuple(now - age for age in sight.open))
        case "Refused":
            return Refused(relay, vantage, PATH, probe, at)
        case "Reset":
            return Reset(relay, vantage, PATH, probe, at)
        case "Erred":
            return Erred(relay, vantage, PATH, probe, at, sight.latency, sight.code)


def own_evidence(relay: str, window: Window, now: float) -> Iterator[OwnEvidence]:
    """What a relay says of one window that arrived `now`: what happened in it, and always what the relay thinks of itself, since that it is
    well again is news too."""
    at = now - window.age
    yield OwnReport(relay, at, window.unfit, window.strain)
    if window.accepted or window.deferred:
        yield Intake(relay, at, window.accepted, window.deferred)
    for each in window.attempts:
        counts = (each.replied, each.connect_failed, each.timed_out, each.reset)
        if any(counts):
            yield Deliveries(relay, at, each.source, each.provider, *counts)
    for publishes in window.confirms:
        if publishes.confirmed or publishes.late:
            yield Confirms(relay, at, publishes.broker, publishes.confirmed, publishes.late)
    for asked in window.lookups:
        if asked.answered or asked.failed:
            yield Lookups(relay, at, ServiceKind(asked.kind), asked.name, asked.answered, asked.failed)


def good(evidence: Evidence) -> bool:
    """Whether an observation speaks for its relay, and against nobody."""
    match evidence:
        case Answered():
            return True
        case OwnReport():
            return not evidence.unfit
        case Intake():
            return not evidence.deferred
        case Deliveries():
            return not (evidence.connect_failed or evidence.timed_out or evidence.reset)
        case Confirms():
            return not evidence.late
        case Lookups():
            return not evidence.failed
        case _:
            return False
