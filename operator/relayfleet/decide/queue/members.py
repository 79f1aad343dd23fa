"""Which queues get another member.

A cluster that grows from 3 to 5 brokers has queues with 3 members: the two new brokers hold nothing until they are added to each of them.
A member is added to one queue at a time, only while all its present members are up: the new one has no log yet, so an addition makes the
majority one larger before it makes the queue any safer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relayfleet.decide.queue.facts import Brokers, Queue


@dataclass(frozen=True, slots=True)
class Addition:
    """Add a member of this queue on this broker."""

    vhost: str
    queue: str
    node: str


def additions(brokers: Brokers, able: Iterable[str]) -> list[Addition]:
    """The next member of each queue that lacks one on a broker that is `able` (it takes connections) and in the cluster."""
    targets = [node for node in able if node in brokers.running]
    found = [_next(queue, targets) for queue in sorted(brokers.queues, key=lambda each: (each.vhost, each.name))]
    return [each for each in found if each is not None]


def _next(queue: Queue, targets: Sequence[str]) -> Addition | None:
    if not queue.members or queue.online != queue.members:
        return None
    node = next((node for node in targets if node not in queue.members), None)
    return Addition(queue.vhost, queue.name, node) if node else None


def lacking(brokers: Brokers, wanted: Iterable[str]) -> int:
    """How many queues do not have a member on each broker that is wanted."""
    nodes = frozenset(wanted)
    return sum(not queue.members >= nodes for queue in brokers.queues)
