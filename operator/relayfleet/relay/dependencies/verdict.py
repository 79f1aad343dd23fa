"""From outcomes of probes to a verdict. Pure: times come in, in seconds by any clock that goes on.

A target is down after FAILURES failures in a row, which follow each other at once: one that is lost on the way, or comes while somebody
fails over, is no outage. It is back after BACK answers in a row, or one that starts, stops and starts would turn mail on and off.
With a backup even one connection that is not made in time is enough to look there first: it costs nothing while the backup answers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from relayfleet.protocol.telemetry import DependencyState
from relayfleet.relay.dependencies.outcome import Kind, Outcome

FAILURES = 3
BACK = 3
HURRY = 0.1
"""Seconds between two probes while failures are counted."""
RETURN = 0.5
"""Seconds between two probes while the answers of one that comes back are counted: it has enough to do."""


class Standing(enum.Enum):
    """Of one target. `DOUBTED`: it was up, and a connection was not made in time."""

    UNKNOWN = enum.auto()
    UP = enum.auto()
    DOUBTED = enum.auto()
    DOWN = enum.auto()


@dataclass(frozen=True, slots=True)
class Track:
    """One target. `run`: answers in a row, or failures in a row as a negative number, the first at `run_since`. `since`: when it came to
    its standing. `why` it does not answer."""

    standing: Standing = Standing.UNKNOWN
    run: int = 0
    run_since: float = 0.0
    since: float = 0.0
    why: str = ""

    def delay(self, interval: float) -> float:
        """Seconds until the next probe."""
        if self.standing in (Standing.DOWN, Standing.DOUBTED) and self.run > 0:
            return min(interval, RETURN)
        settled = self.standing is Standing.DOWN or self.run >= 0
        return interval if settled else min(interval, HURRY)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a relay says of a dependency: since when, and why it is not just that it answers."""

    state: DependencyState
    since: float = 0.0
    why: str = ""


def fold(track: Track, outcome: Outcome, now: float) -> Track:
    """The target after one more outcome."""
    if outcome.kind is Kind.NOT_ASKED:
        since = track.since if track.standing is Standing.UNKNOWN else now
        return Track(since=since, why=outcome.why)
    return _answered(track, now) if outcome.kind is Kind.ANSWERED else _failed(track, outcome, now)


def judge(first: Track, backup: Track | None = None) -> Verdict:
    """The dependency, by its first target and its backup, if it has one."""
    if first.standing is Standing.UP:
        return Verdict(DependencyState.ANSWERS, first.since)
    if backup is not None and backup.standing in (Standing.UP, Standing.DOUBTED) and _leaves(first):
        return Verdict(DependencyState.ON_BACKUP, max(first.since, backup.since), first.why)
    if first.standing is Standing.DOUBTED:
        return Verdict(DependencyState.ANSWERS, first.since)
    if first.standing is Standing.UNKNOWN:
        return Verdict(DependencyState.UNKNOWN, first.since, first.why)
    return _down(first, backup)


def _leaves(first: Track) -> bool:
    return first.standing in (Standing.DOUBTED, Standing.DOWN)


def _down(first: Track, backup: Track | None) -> Verdict:
    if backup is None:
        return Verdict(DependencyState.DOWN, first.since, first.why)
    if backup.standing is Standing.UNKNOWN:
        return Verdict(DependencyState.UNKNOWN, backup.since, f"{first.why}; backup: {backup.why or 'not known yet'}")
    return Verdict(DependencyState.DOWN, max(first.since, backup.since), f"{first.why}; backup: {backup.why}")


def _answered(track: Track, now: float) -> Track:
    run, since = (track.run + 1, track.run_since) if track.run > 0 else (1, now)
    track = replace(track, run=run, run_since=since)
    if track.standing is Standing.UP:
        return track
    if track.standing is Standing.UNKNOWN or run >= BACK:
        return replace(track, standing=Standing.UP, since=since, why="")
    return track


def _failed(track: Track, outcome: Outcome, now: float) -> Track:
    run, since = (track.run - 1, track.run_since) if track.run < 0 else (-1, now)
    track = replace(track, run=run, run_since=since, why=outcome.why)
    if track.standing is Standing.DOWN:
        return track
    if run <= -FAILURES:
        return replace(track, standing=Standing.DOWN, since=since)
    if outcome.kind is Kind.TIMED_OUT_CONNECTING and track.standing is Standing.UP:
        return replace(track, standing=Standing.DOUBTED, since=since)
    return track
