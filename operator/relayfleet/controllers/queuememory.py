"""What the leader remembers of a queue between two looks. Lost with the process: everything here can be found out again."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from relayfleet.controllers.queuecopies import Copies
from relayfleet.decide.queue.facts import Brokers, Cluster
from relayfleet.decide.queue.sweep import Doubt, Watch
from relayfleet.protocol.sealing import Key


@dataclass(slots=True)
class Sweep:
    """Of queues whose pools are gone. `pool`: the one whose queues are being removed, "" for none: while it stands here its relays get no user. `locked`: since when
    the user that older relays share is away. `doubt`: a deletion that was asked for and not answered, so that it may come yet. `look_at`: when to look again.
    `said`: why queues stay, as was last told, by pool. Times in seconds, monotonic."""

    watch: Watch = field(default_factory=Watch)
    look_at: float = float("-inf")
    pool: str = ""
    locked: float | None = None
    doubt: Doubt | None = None
    said: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class QueueMemory:
    """`admin`: the admin Secret, `sealing`: the sealing keys; `…_copy`: what the copy of each holds, as far as is known, `copies`: which
    the API server refuses. `children` belongs to `act.kubernetes.children`. `brokers`, `unreachable`: the last answer of the management API, `asked_at` when
    (seconds, monotonic), `asked_about` what was then true. `growing`: members were added and leaders not spread yet.
    `cluster`: what the last look found, `revision` the StatefulSet's newest then. `sweep`: see `queuesweep`."""

    admin: dict[str, str] | None = None
    admin_copy: dict[str, str] | None = None
    sealing: tuple[Key, ...] | None = None
    sealing_copy: tuple[Key, ...] | None = None
    copies: Copies = field(default_factory=Copies)
    children: dict[Any, Any] = field(default_factory=dict)
    brokers: Brokers | None = None
    unreachable: str = ""
    asked_at: float = float("-inf")
    asked_about: tuple[Any, ...] = ()
    growing: bool = False
    cluster: Cluster | None = None
    revision: str = ""
    orphan_since: float | None = None
    locked_since: float | None = None
    sweep: Sweep = field(default_factory=Sweep)


def of(memory: MutableMapping[Any, Any], namespace: str, name: str) -> QueueMemory:
    """The memory of a queue, made when there is none."""
    found: QueueMemory = memory.setdefault(("QueueCluster", namespace, name), QueueMemory())
    return found


def known(memory: Mapping[Any, Any], namespace: str, name: str) -> QueueMemory | None:
    """The memory of a queue, None when there is none."""
    found: QueueMemory | None = memory.get(("QueueCluster", namespace, name))
    return found


def forget(memory: MutableMapping[Any, Any], namespace: str, name: str) -> None:
    """Forget a queue that is gone, its Secrets above all: a successor's may be others."""
    memory.pop(("QueueCluster", namespace, name), None)
