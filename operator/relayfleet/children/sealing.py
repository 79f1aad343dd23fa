"""The Secret with the keys that seal a queue's mail: its name, what it looks like, and how relays mount it.

It belongs to the queue, whose mail outlives pools, and has no owner: like the brokers' credentials it outlives the QueueCluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from relayfleet.children.rabbitmq import secrets
from relayfleet.protocol.sealing import ENTRY, Key, dump

VOLUME = "sealing"


def name(queue: str) -> str:
    """The name of the Secret, for a queue that the operator runs and for one that somebody else does."""
    return f"{queue}-sealing"


def copy_name(queue: str) -> str:
    """The name of the Secret with the same keys again, which nothing mounts: see `controllers.queuesealing`."""
    return f"{name(queue)}-copy"


def secret(queue: dict[str, Any], keys: Iterable[Key]) -> dict[str, Any]:
    """The Secret with these keys."""
    return secrets.secret(queue, name(queue["metadata"]["name"]), {ENTRY: dump(keys)})


def copy(queue: dict[str, Any], keys: Iterable[Key]) -> dict[str, Any]:
    """The copy with these keys."""
    return secrets.secret(queue, copy_name(queue["metadata"]["name"]), {ENTRY: dump(keys)})


def volume(queue: str) -> dict[str, Any]:
    """The volume with it. Not optional: a relay without keys could not read what the others have sealed."""
    items = [{"key": ENTRY, "path": ENTRY}]
    return {"name": VOLUME, "secret": {"secretName": name(queue), "defaultMode": 0o440, "items": items}}
