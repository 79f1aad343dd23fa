"""The name that a relay takes at the broker while it moves its pool's waiting mail: a queue that is its connection's alone, so one relay at a time does.

The operator has to know it too: it holds no mail, and nobody else may ask it for a record.
"""

from __future__ import annotations

_ENDING = ".v1.requeue"
"""Of the name, after the pool's prefix. Relays of all versions take the same one, or two of them would move mail at once."""


def name(prefix: str) -> str:
    """Of the queue of the pool whose queues' names begin so."""
    return f"{prefix}{_ENDING}"


def is_name(queue: str) -> bool:
    """Whether a queue's name is such a one, of whichever pool."""
    return queue.endswith(_ENDING)
