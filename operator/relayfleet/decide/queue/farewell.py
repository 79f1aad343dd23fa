"""What becomes of brokers whose QueueCluster was deleted with deletionPolicy Delete.

No finalizer: a finalizer that waits for a broker which does not answer would hold the namespace. The StatefulSet simply outlives its owner for
a while. Mail is never deleted on a guess: volumes and credentials go only after the relays' user was taken away (so nothing comes in any
more, and what relays held is back), and every queue was then seen empty, from a while later on. Otherwise only the brokers go, and the volumes wait for a QueueCluster of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

PATIENCE = 300.0
"""Seconds in which relays may empty the queues, or brokers may answer."""

SETTLING = 20.0
"""Seconds after the lock before an empty queue is believed. Brokers count every five, and a leader that is new says 0 until then."""


class Step(Enum):
    """What to do next."""

    WAIT = "wait"
    LOCK = "take the relays' user away"
    REMOVE_ALL = "remove brokers, volumes and Secrets"
    KEEP_MAIL = "remove the brokers only"


@dataclass(frozen=True, slots=True)
class Orphan:
    """`records`: how many lie in all queues, None when that could not be asked. `age`: seconds since this was first seen. `locked`: seconds
    since relays can put nothing in, None while they can."""

    records: int | None
    age: float
    locked: float | None = None


def next_step(orphan: Orphan) -> Step:
    """The next step, to be decided again after it was taken."""
    if orphan.records == 0 and orphan.locked is None:
        return Step.LOCK
    if orphan.records == 0 and (orphan.locked or 0.0) >= SETTLING:
        return Step.REMOVE_ALL
    if orphan.age >= PATIENCE or (orphan.locked is not None and orphan.records):
        return Step.KEEP_MAIL
    return Step.WAIT
