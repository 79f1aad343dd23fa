"""Records that may be poison: handed out again and again, because each time something broke.

The queue hands a record out as often as it takes and never drops it, so it is for the delivery to notice. A record on which our own
code fails is quarantined after a few tries. One that kills the whole process is harder: all records that were in hand with it come back
with the same count. So suspects are handled one at a time, and of those beyond the limit only the first in the life of a process is
quarantined: it stood where the last process fell. The others get their try.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from relayfleet.relay.spool.interface import Held, Successor

FAULTS = 5
"""Deliveries after which a record that our code fails on goes to quarantine."""
SUSPICIOUS = 7
"""Deliveries from which on a record is handled alone. Relays also die one after the other for reasons of their own, each with hundreds of
innocent records in hand: with less, those would then be delivered one at a time. It need only be some deliveries below the next."""
DEADLY = 10


class Suspects:
    """One for each process."""

    def __init__(self) -> None:
        self._alone = asyncio.Lock()
        self._convicted = False

    @asynccontextmanager
    async def watched(self, held: Held) -> AsyncIterator[None]:
        """Records that came often wait for each other here; all others pass."""
        if held.deliveries < SUSPICIOUS:
            yield
            return
        async with self._alone:
            yield

    def is_deadly(self, held: Held) -> bool:
        """True for the one record that probably killed the processes before this one."""
        if held.deliveries < DEADLY or self._convicted:
            return False
        self._convicted = True
        return True


def quarantined(held: Held, why: str) -> Successor:
    """The record as it goes to quarantine; `why` stays with it."""
    record = held.record
    return Successor(dataclasses.replace(record, attempt=record.attempt + 1, last_answer=why), quarantine=True)
