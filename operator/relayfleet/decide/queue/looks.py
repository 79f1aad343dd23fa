"""What is known of a broker by looking at it: what each prober saw last, and what live traffic of relays showed.

Facts and how they add up; what follows from them is in `silence`. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

NEVER = -math.inf
_PATIENT = 0.1
"""How fast the usual latency follows."""


class Kind(StrEnum):
    """What a prober saw. BLOCKED: an alarm of the brokers keeps records out; DENIED: it may not log in. Neither is a fault of the broker."""

    ANSWERED = "Answered"
    SILENT = "Silent"
    REFUSED = "Refused"
    UNREACHABLE = "Unreachable"
    RESET = "Reset"
    ERRED = "Erred"
    BLOCKED = "Blocked"
    DENIED = "Denied"


class Step(StrEnum):
    """What it was doing: connect and log in, or have a record confirmed."""

    CONNECT = "Connect"
    PUBLISH = "Publish"


SAYS_SOMETHING = frozenset({Kind.ANSWERED, Kind.ERRED, Kind.BLOCKED, Kind.DENIED})
"""The broker said something, whatever it was: who hears that is not blind."""
BLAMELESS = frozenset({Kind.BLOCKED, Kind.DENIED})


@dataclass(frozen=True, slots=True)
class Sight:
    """One observation of a broker at `at`. `since`: when the trouble began that it belongs to."""

    kind: Kind
    step: Step
    at: float
    latency: float = 0.0
    since: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Nothing was confirmed since `since`. `kind` and `why` are of the last word about it; `words` how many there were."""

    since: float
    kind: Kind
    why: str
    words: int = 1


@dataclass(frozen=True, slots=True)
class Look:
    """What one prober knows of one broker. `heard`: its last word; `said`: the last time that the broker said anything; `confirmed`: the last
    confirm; `run`: confirms since the last trouble; `usual`, `connecting`: how long a confirm and a new connection usually take."""

    heard: float = NEVER
    said: float = NEVER
    confirmed: float = NEVER
    run: int = 0
    usual: float = 0.0
    connecting: float = 0.0
    trouble: Trouble | None = None

    def seeing(self, sight: Sight) -> Look:
        """With one more observation."""
        look = replace(self, heard=sight.at, said=sight.at if sight.kind in SAYS_SOMETHING else self.said)
        if sight.kind is Kind.ANSWERED and sight.step is Step.PUBLISH:
            usual = _followed(self.usual, sight.latency)
            return replace(look, confirmed=sight.at, run=self.run + 1, usual=usual, trouble=None)
        if sight.kind is Kind.ANSWERED:
            return replace(look, connecting=_followed(self.connecting, sight.latency))
        if sight.kind in BLAMELESS:
            return look
        return replace(look, run=0, trouble=_troubled(self.trouble, sight))


def _followed(before: float, latency: float) -> float:
    return before + _PATIENT * (latency - before) if before else latency


def _troubled(before: Trouble | None, sight: Sight) -> Trouble:
    since = sight.at if sight.since is None else sight.since
    if before is None:
        return Trouble(since, sight.kind, sight.why)
    return Trouble(min(since, before.since), sight.kind, sight.why, before.words + 1)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What relays tell of their publishes through one broker: when one was last confirmed, and when one was last late."""

    confirmed: float = NEVER
    late: float = NEVER


@dataclass(frozen=True, slots=True)
class Fault:
    """A broker that is named: since when, `kind` and `why` as they were then, by how many of how many probers."""

    since: float
    kind: Kind
    why: str
    seen_by: int
    of: int
    named: float


@dataclass(frozen=True, slots=True)
class Broker:
    """Everything about one broker. `looks` by prober."""

    looks: Mapping[str, Look] = field(default_factory=dict)
    traffic: Traffic = Traffic()
    fault: Fault | None = None
