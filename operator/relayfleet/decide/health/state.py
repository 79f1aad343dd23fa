"""What is remembered between two decisions: one frozen value, passed in and returned.

Times in here are on a clock of the state's own. It goes on by the caller's steps, but by `MAX_STEP` at most and never
back, so that a clock that jumps, or an operator that slept, ages nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from relayfleet.decide.health.evidence import Probe
from relayfleet.decide.health.tail import Tail
from relayfleet.decide.health.words import Level, Reason

MAX_STEP = 5.0
"""Longest step of the state's clock between two decisions, in seconds."""
NEVER = -math.inf
FULL = 4
"""Weights are counted in quarters."""
DARK = 4
"""So many dark times of a source are kept: a source that is asked seldom has one between any two answers."""


class Source(NamedTuple):
    """Where observations of one kind come from. Vantage and path together are the failure domain."""

    vantage: str
    path: str
    probe: Probe


class Subject(NamedTuple):
    """What an outcome is about: something that relays share, tried by way of `via` (an empty field: whichever)."""

    kind: Reason
    name: str
    via: str

    @property
    def shared(self) -> tuple[Subject, ...]:
        """What must be seen working for another relay before a failure is this one's: the thing itself, and for egress the way too."""
        thing = Subject(self.kind, self.name, "")
        return (thing, Subject(self.kind, "", self.via)) if self.kind is Reason.EGRESS_FAILING else (thing,)


@dataclass(frozen=True, slots=True)
class Sightings:
    """The latest times at which something worked, for the two relays that saw it last."""

    first: str = ""
    first_at: float = NEVER
    second: str = ""
    second_at: float = NEVER

    def seen(self, relay: str, at: float) -> Sightings:
        """With one more sighting."""
        if relay == self.first:
            return Sightings(relay, max(at, self.first_at), self.second, self.second_at)
        if at >= self.first_at:
            return Sightings(relay, at, self.first, self.first_at)
        if at >= self.second_at:
            return Sightings(self.first, self.first_at, relay, at)
        return self

    def besides(self, relay: str) -> tuple[str, float]:
        """The latest sighting by any other relay: which, and when."""
        return (self.second, self.second_at) if relay == self.first else (self.first, self.first_at)


@dataclass(frozen=True, slots=True)
class Probing:
    """What one source last said about one relay: open probes, refusals and resets since it last lived, and Page's sum of late and lost answers,
    with when it last grew (`worse`). `overtaken`: probes of which a younger one was answered, and which are not late yet."""

    unanswered: tuple[float, ...] = ()
    overtaken: tuple[float, ...] = ()
    as_of: float = NEVER
    answered: float = NEVER
    refused: tuple[float, ...] = ()
    resets: tuple[float, ...] = ()
    late: float = 0.0
    worse: float = NEVER


@dataclass(frozen=True, slots=True)
class Trial:
    """Failures of one relay with one subject, not yet outweighed by successes: the first few. `good` is the last success, `worse` the last
    failure, `at` the later of the two."""

    bad: tuple[float, ...] = ()
    good: float = NEVER
    at: float = NEVER
    worse: float = NEVER


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a relay stands by its own evidence, and the damping that goes with it.

    `since`: start of this level; `cordons`: how many of late; `recovery`: Page's sum the other way round; `eased`: quarters that
    its strain leaves it.
    """

    level: Level = Level.ACTIVE
    reason: Reason = Reason.HEALTHY
    message: str = ""
    since: float = NEVER
    cordons: int = 0
    calm_since: float = NEVER
    recovery: float = 0.0
    strain: float = 0.0
    eased: int = FULL
    eased_at: float = NEVER
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class RelayState:
    """All that is remembered of one relay. `lively`: last live success it claims itself; `alive`: last probe known answered, by its sending."""

    standing: Standing = Standing()
    probing: Mapping[Source, Probing] = field(default_factory=dict)
    trials: Mapping[Subject, Trial] = field(default_factory=dict)
    tail: Tail = field(default_factory=Tail)
    alive: float = NEVER
    lively: float = NEVER
    exited: float = NEVER


@dataclass(frozen=True, slots=True)
class View:
    """What one source sees of the whole pool: who answered last, and how fast relays answer just now (mean latency, seconds).

    `dark`: the last few times, from and to, in which it heard from no relay at all; a loss in them is the source's own.
    """

    heard: Sightings = Sightings()
    pace: float = 0.0
    dark: tuple[tuple[float, float], ...] = ()

    def blames(self, sent: float) -> bool:
        """Whether a probe sent then tells of the relay: the source was not in the dark."""
        return not any(begin < sent < end for begin, end in self.dark)


@dataclass(frozen=True, slots=True)
class State:
    """Everything. `seen` is the caller's time of the last decision, None after a restart."""

    clock: float = 0.0
    seen: float | None = None
    relays: Mapping[str, RelayState] = field(default_factory=dict)
    views: Mapping[Source, View] = field(default_factory=dict)
    worked: Mapping[Subject, Sightings] = field(default_factory=dict)
    lost_nodes: Mapping[str, float] = field(default_factory=dict)
