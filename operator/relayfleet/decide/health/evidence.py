"""What was seen: one frozen value per observation, named by who saw it and by which way.

A *vantage* is a prober on some node. A *path* is a network path from it ("pod", "service"); vantage × path is one failure
domain: whatever breaks it breaks every observation made through it. All times are monotonic seconds on the caller's clock;
the caller translates those of other machines (its own `now` at arrival less the age that the sender states).

Silence is stated, never inferred: a vantage that is paused or cut off states nothing, and then nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Probe(StrEnum):
    """What a probe does. Probes of one kind through one domain are one source; bursts are dialogues on sockets of their own.

    Transaction: an envelope, taken back. Storage: a whole mail, up to the queue's confirm; it says when that is overdue."""

    DIALOGUE = "Dialogue"
    CONNECT = "Connect"
    TRANSACTION = "Transaction"
    STORAGE = "Storage"


class ServiceKind(StrEnum):
    """Something that relays share and that can be down for all of them."""

    RESOLVER = "Resolver"
    DEPENDENCY = "Dependency"


@dataclass(frozen=True, slots=True)
class Answered:
    """A probe was answered as it should be, `latency` seconds after it was sent."""

    relay: str
    vantage: str
    path: str
    probe: Probe
    at: float
    latency: float


@dataclass(frozen=True, slots=True)
class Silent:
    """As of `at` the probes sent at `sent` have no answer, though the vantage looked. Said anew while it lasts; the last word counts.

    Oldest first; when there are many the oldest 16 will do.
    """

    relay: str
    vantage: str
    path: str
    probe: Probe
    at: float
    sent: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A fresh connection was refused: nothing listens."""

    relay: str
    vantage: str
    path: str
    probe: Probe
    at: float


@dataclass(frozen=True, slots=True)
class Reset:
    """An established connection was reset. Two at once on independent sockets are two observations."""

    relay: str
    vantage: str
    path: str
    probe: Probe
    at: float


@dataclass(frozen=True, slots=True)
class Erred:
    """A probe got an SMTP reply that says failure (`code` 4xx or 5xx): the relay lives, but does not do its work."""

    relay: str
    vantage: str
    path: str
    probe: Probe
    at: float
    latency: float
    code: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The relay's telemetry stream as `vantage` sees it: a beat arrived (`late` 0), or the next is `late` seconds overdue."""

    relay: str
    vantage: str
    at: float
    late: float


@dataclass(frozen=True, slots=True)
class Intake:
    """Live transactions that ended in one window: accepted with 250, or turned away with 4xx (quota and policy left out)."""

    relay: str
    at: float
    accepted: int
    deferred: int


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Live attempts of one window by SendingIP (`source`) and destination provider. `replied`: the remote said anything, 5xx too."""

    relay: str
    at: float
    source: str
    provider: str
    replied: int
    connect_failed: int
    timed_out: int
    reset: int


@dataclass(frozen=True, slots=True)
class Confirms:
    """Publishes of one window: confirmed by the broker in time, or not."""

    relay: str
    at: float
    broker: str
    confirmed: int
    late: int


@dataclass(frozen=True, slots=True)
class Lookups:
    """Questions of one window to a resolver or another dependency: answered, or failed."""

    relay: str
    at: float
    kind: ServiceKind
    name: str
    answered: int
    failed: int


@dataclass(frozen=True, slots=True)
class OwnReport:
    """What the relay thinks of itself: `unfit` says why it cannot serve (empty: it can); `strain` is the share of its tightest limit in use."""

    relay: str
    at: float
    unfit: str
    strain: float


@dataclass(frozen=True, slots=True)
class Exited:
    """The relay's container ended."""

    relay: str
    at: float
    code: int


@dataclass(frozen=True, slots=True)
class NodeFact:
    """Kubernetes says that a node is lost (its lease ran out), or back."""

    node: str
    at: float
    lost: bool


ProbeEvidence = Answered | Silent | Refused | Reset | Erred
OwnEvidence = Intake | Deliveries | Confirms | Lookups | OwnReport
Evidence = ProbeEvidence | OwnEvidence | Heartbeat | Exited | NodeFact
