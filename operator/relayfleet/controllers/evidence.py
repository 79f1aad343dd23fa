"""From a prober's words to the evidence that decisions are made of: ages become times of this machine's clock."""

from __future__ import annotations

from relayfleet.decide.health.evidence import Answered, Erred, Probe, ProbeEvidence, Refused, Reset, Silent
from relayfleet.protocol.probing import Sight

PATH = "pod"
"""Probers talk to pods by their addresses, not through the Service."""


def key(namespace: str, pool: str, relay: str) -> str:
    """The name of a relay in the words between leader and prober."""
    return f"{namespace}/{pool}/{relay}"


def split(name: str) -> tuple[tuple[str, str], str]:
    """The pool (namespace and name) and the relay of a key. Raises ValueError for a name that is no key."""
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
