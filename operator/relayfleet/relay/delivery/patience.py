"""Asking the queue or its journal again while it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from relayfleet.relay.delivery.telling import log
from relayfleet.relay.spool.interface import Held, SpoolError, SpoolTooLarge

PATIENCE = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0, 60.0)
"""Pauses before asking a queue again that was away: five minutes in all. Handing back would only make the record come again."""
_LOOK = 1.0
T = TypeVar("T")


async def patiently(held: Held, step: Callable[[], Awaitable[T]], hurries: Callable[[], bool] = lambda: False) -> T:
    """Ask again while the record is ours and nothing `hurries`. Raises SpoolError when it stays away: then the record goes back, and the journal
    knows what was delivered."""
    pauses = iter(PATIENCE)
    while True:
        try:
            return await step()
        except SpoolTooLarge:
            raise
        except SpoolError as error:
            pause = next(pauses, None)
            if pause is None or not held.is_ours or hurries():
                raise
            log.warning("id=%s attempt=%d the queue is away: %s", held.record.id, held.record.attempt, error)
            await _sleep(pause, hurries)


async def _sleep(seconds: float, hurries: Callable[[], bool]) -> None:
    """So long, or until something has begun to hurry, which is looked for each second."""
    until = time.monotonic() + seconds
    await asyncio.sleep(min(seconds, _LOOK))
    while (left := until - time.monotonic()) > 0 and not hurries():  # noqa: ASYNC110 - what hurries has no event
        await asyncio.sleep(min(left, _LOOK))
