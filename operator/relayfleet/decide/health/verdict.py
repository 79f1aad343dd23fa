"""What a decision says: a verdict for each relay, causes that blame no relay, an alert, and what to look at next."""

from __future__ import annotations

from dataclasses import dataclass

from relayfleet.decide.health.evidence import Probe
from relayfleet.decide.health.findings import Finding
from relayfleet.decide.health.state import State
from relayfleet.decide.health.words import Level, Reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """One relay's place in traffic. `weight` in quarters; `total` and `findings` are the evidence sums that explain it.

    `age`: seconds that the level has lasted by the relay's own evidence (infinite: always).
    """

    relay: str
    level: Level
    weight: int
    reason: Reason
    message: str
    total: float
    findings: tuple[Finding, ...]
    age: float


@dataclass(frozen=True, slots=True)
class Burst:
    """Probe these relays at once from every vantage, and again in `policy.burst_gap`: the suspects, and one that answers, as reference."""

    relay: str
    probe: Probe


@dataclass(frozen=True, slots=True)
class Decision:
    """`next_check`: decide again at this time (caller's clock) even without new evidence. `ignored`: observations left out of this batch."""

    state: State
    verdicts: tuple[Verdict, ...]
    causes: tuple[Finding, ...]
    alert: Reason | None
    bursts: tuple[Burst, ...]
    next_check: float
    ignored: int
