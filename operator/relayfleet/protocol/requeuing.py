"""The names that a relay takes at the broker while it moves its pool's waiting mail, or its parked mail: a queue that is its connection's alone, so one relay at a
time does.

The operator has to know them too: they hold no mail, and nobody else may ask them for a record.
"""

from __future__ import annotations

_ENDING, _RELEASE = ".v1.requeue", ".v1.release"
"""Of the names, after the pool's prefix. Relays of all versions take the same one, or two of them would move mail at once."""


def name(prefix: str) -> str:
    """Of the queue of the pool whose queues' names begin so."""
    return f"{prefix}{_ENDING}"


def release_name(prefix: str) -> str:
    """The same for parked mail."""
    return f"{prefix}{_RELEASE}"


def is_name(queue: str) -> bool:
    """Whether a queue's name is such a one, of whichever pool."""
    return queue.endswith((_ENDING, _RELEASE))
