"""Since when a waiting record waits, and from when on it may be tried. Pure; Unix seconds.

Relays from before this do not write it down. What they put off on a rung waits for no longer than that, and for longer than the rung below would
have: so there are two bounds. Nobody knows whether its peer may have it already, so it has the ten minutes for that in any case.
"""

from __future__ import annotations

from relayfleet.relay.retry.backoff import UNCERTAIN_SECONDS
from relayfleet.relay.spool.record import Record


def put_off_between(record: Record, rung: int, below: int) -> tuple[float, float]:
    """The earliest and the latest time at which it may have been put off. `below`: the rung below its own in seconds, 0: none."""
    if record.deferred_at:
        return record.deferred_at, record.deferred_at
    return record.next_at - rung, record.next_at - below


def may_be_tried_at(record: Record, latest: float) -> float:
    """Before that nobody may try it. `latest`: at which it may have been put off."""
    return record.earliest_at if record.deferred_at else latest + UNCERTAIN_SECONDS
