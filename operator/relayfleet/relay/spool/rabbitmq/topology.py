"""Which queues a pool has, and with which arguments. Pure.

    <prefix>.v1.ready.a        <prefix>.v1.ready.b          records to be delivered now
    <prefix>.v1.wait.60.a      <prefix>.v1.wait.60.b        records that wait, one pair for each rung of the ladder
    <prefix>.v1.quarantine                                  records for a human; nobody consumes it

*Two lanes.* Everything exists twice, led by different nodes: a frozen leader stops lane `a` for seconds, and lane `b` meanwhile takes the
mail, on a connection of its own. Each lane declares its queues through its own node (`client-local`).

*A ladder, not a time a record.* A quorum queue expires only at its head, so each delay is a queue with a fixed time-to-live, whose
records are dead-lettered back to the ready queue of their lane: at least once, for which the broker demands `reject-publish`.
Lane `b` waits a fifth longer than lane `a`, so that the records of one outage do not all come back in the same second.

*Versioned.* Arguments of a queue cannot change, and a second declaration with other ones fails. So the version is part of the name, and
settings choose among the rungs instead of changing them. The delivery limit is off: the broker's default drops a record after 20 returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Lane = Literal["a", "b"]
LANES: tuple[Lane, ...] = ("a", "b")
LADDER: tuple[int, ...] = (15, 60, 120, 240, 480, 600, 960, 1920, 3840, 7680, 14400)
"""Seconds. Doubling from a minute to four hours, ten minutes for outcomes that are uncertain (RFC 5321), and a short one."""

VERSION = "v1"
_LONGER = {"a": 1.0, "b": 1.2}


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

    def wait(self, delay: float, lane: Lane) -> str:
        """Name of the lane's queue on the lowest rung that is not below `delay` seconds, or on the top rung."""
        rung = next((each for each in self.ladder if each >= delay), self.ladder[-1])
        return self._rung(rung, lane)

    @property
    def quarantine(self) -> str:
        """Name of the queue for records that nobody tries again."""
        return f"{self.prefix}.{VERSION}.quarantine"

    def queues(self, lane: Lane) -> list[Queue]:
        """All queues that the lane declares; lane `a` has the quarantine too."""
        own = [Queue(self.ready(lane), self._arguments())]
        if lane == "a":
            own.append(Queue(self.quarantine, self._arguments()))
        return own + [Queue(self._rung(rung, lane), self._waiting(rung, lane)) for rung in self.ladder]

    def probe(self, suffix: str) -> Queue:
        """A queue of one record and one member whose dead letters have nowhere to go; see `declaring.prove_dead_letters_are_kept`."""
        name = f"{self.prefix}.{VERSION}.probe.{suffix}"
        dead = self._dead_lettering(1, f"{name}.nowhere")
        small = {"x-max-length": 1, "x-expires": 60_000, "x-quorum-initial-group-size": 1}
        return Queue(name, self._arguments() | dead | small)

    def _rung(self, rung: int, lane: Lane) -> str:
        return f"{self.prefix}.{VERSION}.wait.{rung}.{lane}"

    def _waiting(self, rung: int, lane: Lane) -> dict[str, Any]:
        return self._arguments() | self._dead_lettering(int(rung * 1000 * _LONGER[lane]), self.ready(lane))

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
