"""What the consumer needs of the spool: how bytes become records, and where records go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from relayfleet.relay.spool.interface import SpoolUnavailable, Successor
from relayfleet.relay.spool.record import Record


async def _nowhere(record: Record, lane: int) -> None:
    raise SpoolUnavailable(f"{record.key} cannot go to provider lane {lane}: there is none")


@dataclass(frozen=True, slots=True)
class Ways:
    """`open` makes a record of a body and, where it needs it, the message id. `store` puts a successor away, `move` a record into a provider lane, as it is. `put_off` (seconds) and
    `quarantine` take body and message id as they came: that of a sealed record is bound to it."""

    open: Callable[[bytes, Callable[[], str]], Record]
    store: Callable[[Successor], Awaitable[None]]
    put_off: Callable[[bytes, str, float], Awaitable[None]]
    quarantine: Callable[[bytes, str], Awaitable[None]]
    move: Callable[[Record, int], Awaitable[None]] = _nowhere
