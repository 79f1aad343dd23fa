"""What one record's recipients at several destinations are to each other: tried side by side, and none ended by what becomes of another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence

from relayfleet.relay.delivery.outcome import Outcome


async def together(attempts: Sequence[Coroutine[None, None, list[Outcome]]]) -> list[list[Outcome]]:
    """All results. When one fails, as with a claim that another relay has, its error is raised after the others have ended: a dot whose answer nobody
    waits for would be written again. Whoever is cancelled cancels all."""
    tasks = [asyncio.create_task(each) for each in attempts]
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
        return [each.result() for each in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
