"""Which queues a pool has, and with which arguments. Pure.

    <prefix>.v1.ready.a        <prefix>.v1.ready.b          records to be delivered now
    <prefix>.v1.wait.60.a      <prefix>.v1.wait.60.b        records that wait, one pair for each rung of the ladder
    <prefix>.v1.wait.17280.a   <prefix>.v1.wait.12000.b     copies of records that wait in the top rung of the other lane
    <prefix>.v1.lane.0 …       <prefix>.v1.look             provider lanes, and what has lain in one for long: see below
    <prefix>.v1.park                                        records for destinations that nobody reaches: see below
    <prefix>.v1.quarantine                                  records for a human; nobody consumes it

*Two lanes.* Everything exists twice, led by different nodes: a frozen leader stops lane `a` for seconds, and lane `b` meanwhile takes the
mail, on a connection of its own. Each lane declares its queues through its own node (`client-local`).

*A ladder, not a time a record.* A quorum queue expires only at its head, so each delay is a queue with a fixed time-to-live, whose
records are dead-lettered back to the ready queue of their lane: at least once, for which the broker demands `reject-publish`.
Lane `b` waits a fifth longer than lane `a`, so that the records of one outage do not all come back in the same second.

*Copies come back together.* A late confirm leaves a copy in the other lane. What became of the first is remembered for an hour, and a fifth of four hours
is too much of it: where the lengths differ by more than `MOST_APART`, each lane has a queue more, of the other lane's length, for such copies.

*Provider lanes.* Records to be delivered now whose recipients are all of one provider wait in its queue, apart from all others; which one means
nothing for safety (`relay.spool.places`). They exist once, are led by lane `b`'s node, and are made only where they are used. What has lain in one for
`LANE_SECONDS` is dead-lettered to `look`, where its time, its rules and its copies are looked at, and it goes to the tail of its lane again; what nobody
has taken from there for `LOOK_SECONDS` goes to `ready.b`. So no record lies unseen for long, not even where no relay consumes these queues.

*Parked mail* lies in a queue like a lane, that nobody consumes. It is made, with `look`, where it is used.

*Versioned.* Arguments of a queue cannot change, and a second declaration with other ones fails. So the version is part of the name, and
settings choose among the rungs instead of changing them. The delivery limit is off: the broker's default drops a record after 20 returns.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

from relayfleet.relay.spool.places import LOOK, PARK, PROVIDER_LANES

Lane = Literal["a", "b"]
LANES: tuple[Lane, ...] = ("a", "b")
LADDER: tuple[int, ...] = (15, 60, 120, 240, 480, 600, 960, 1920, 3840, 7680, 14400)
"""Seconds. Doubling from a minute to four hours, ten minutes for outcomes that are uncertain (RFC 5321), and a short one."""

MOST_APART = 1800
"""Seconds between the returns of two copies of one record that the lanes' lengths may make."""

LED_BY: Lane = "b"
"""Whose node leads all provider lanes. Mail that its lane does not take in time goes to the other lane's ready queue."""

LANE_SECONDS, LOOK_SECONDS = 1200, 300
"""Far less together than the journal remembers what became of a record's copies (docs/decisions/0025)."""

VERSION = "v1"
_PERCENT = {"a": 100, "b": 120}


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it is declared."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Topology:
    """The queues of one pool on a broker that keeps `replicas` copies; `balanced` lets the broker choose the leader's node."""

    prefix: str
    replicas: int
    ladder: tuple[int, ...] = LADDER
    balanced: bool = False

    def ready(self, lane: Lane) -> str:
        """Name of the lane's queue of records to be delivered now."""
        return f"{self.prefix}.{VERSION}.ready.{lane}"

    def wait(self, delay: float, lane: Lane, meant: Lane | None = None) -> str:
        """Name of the lane's queue on the lowest rung that is not below `delay` seconds, or on the top rung. `meant`: the lane for which the record
        was, when this is not the one: it waits about as long as there."""
        rung = next((each for each in self.ladder if each >= delay), self.ladder[-1])
        return self._rung(_copied(rung, meant, lane) if meant and _are_far_apart(rung) else rung, lane)

    def waiting(self, rung: int) -> dict[str, Lane]:
        """Names of all queues in which records of one rung wait, and copies of them, each with its lane: two, or four where the lanes are far apart.
        Those for copies need not exist: they are younger than the others."""
        return {self.wait(rung, lane, meant): lane for lane, meant in itertools.product(LANES, LANES)}

    def place(self, place: int) -> str:
        """Name of the queue of a provider lane (0 …), of those that are looked at (`places.LOOK`), or that are parked (`places.PARK`)."""
        if place == PARK:
            return f"{self.prefix}.{VERSION}.park"
        return self._look if place == LOOK else f"{self.prefix}.{VERSION}.lane.{place}"

    def provider_lanes(self) -> list[Queue]:
        """The queues of all provider lanes; the one in which they end comes first, so where that is missing there are none."""
        return self._ending_in_look(*PROVIDER_LANES)

    def parking(self) -> list[Queue]:
        """The queue of parked mail, and before it the one in which it ends."""
        return self._ending_in_look(PARK)

    def _ending_in_look(self, *places: int) -> list[Queue]:
        look = Queue(self._look, self._arguments() | self._dead_lettering(LOOK_SECONDS * 1000, self.ready(LED_BY)))
        ends = self._arguments() | self._dead_lettering(LANE_SECONDS * 1000, self._look)
        return [look, *(Queue(self.place(each), ends) for each in places)]

    @property
    def quarantine(self) -> str:
        """Name of the queue for records that nobody tries again."""
        return f"{self.prefix}.{VERSION}.quarantine"

    def queues(self, lane: Lane) -> list[Queue]:
        """All queues of the lane; lane `a` has the quarantine too."""
        return [*self.needed(lane), *self.copied(lane)]

    def needed(self, lane: Lane) -> list[Queue]:
        """Those without which the lane stores nothing."""
        own = [Queue(self.ready(lane), self._arguments())]
        if lane == "a":
            own.append(Queue(self.quarantine, self._arguments()))
        return own + [Queue(self._rung(rung, lane), self._waiting(rung, lane)) for rung in self.ladder]

    def copied(self, lane: Lane) -> list[Queue]:
        """Those for copies of what waits in the other lane."""
        (other,) = (each for each in LANES if each != lane)
        rungs = [_copied(rung, other, lane) for rung in self.ladder if _are_far_apart(rung)]
        return [Queue(self._rung(rung, lane), self._waiting(rung, lane)) for rung in rungs]

    def probe(self, suffix: str) -> Queue:
        """A queue of one record and one member whose dead letters have nowhere to go; see `declaring.prove_dead_letters_are_kept`."""
        name = f"{self.prefix}.{VERSION}.probe.{suffix}"
        dead = self._dead_lettering(1, f"{name}.nowhere")
        small = {"x-max-length": 1, "x-expires": 60_000, "x-quorum-initial-group-size": 1}
        return Queue(name, self._arguments() | dead | small)

    @property
    def _look(self) -> str:
        return f"{self.prefix}.{VERSION}.look"

    def _rung(self, rung: int, lane: Lane) -> str:
        return f"{self.prefix}.{VERSION}.wait.{rung}.{lane}"

    def _waiting(self, rung: int, lane: Lane) -> dict[str, Any]:
        return self._arguments() | self._dead_lettering(rung * 10 * _PERCENT[lane], self.ready(lane))

    def _arguments(self) -> dict[str, Any]:
        return {
            "x-queue-type": "quorum",
            "x-quorum-initial-group-size": self.replicas,
            "x-queue-leader-locator": "balanced" if self.balanced else "client-local",
            "x-delivery-limit": -1,
        }

    def _dead_lettering(self, milliseconds: int, target: str) -> dict[str, Any]:
        return {
            "x-message-ttl": milliseconds,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": target,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }


def _are_far_apart(rung: int) -> bool:
    return rung * abs(_PERCENT["b"] - _PERCENT["a"]) > MOST_APART * 100


def _copied(rung: int, meant: Lane, lane: Lane) -> int:
    """The rung of `lane` that is as long as `rung` is in the lane for which a record was meant."""
    return math.ceil(rung * _PERCENT[meant] / _PERCENT[lane])
