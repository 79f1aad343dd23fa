"""What becomes of one destination ends no other one's attempt."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.relay.delivery.outcome import Outcome
from relayfleet.relay.delivery.together import together
from relayfleet.relay.spool.interface import ClaimRefusedError


async def refused() -> list[Outcome]:
    raise ClaimRefusedError("another relay has it")


async def test_a_refused_claim_waits_for_the_answer_to_a_dot_that_is_under_way() -> None:
    answer, ended = asyncio.Event(), list[str]()

    async def past_its_dot() -> list[Outcome]:
        try:
            await answer.wait()
        except asyncio.CancelledError:
            ended.append("cut off")
            raise
        ended.append("answered")
        return []

    both = asyncio.create_task(together([refused(), past_its_dot()]))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not both.done()
    answer.set()
    with pytest.raises(ClaimRefusedError):
        await both
    assert ended == ["answered"]


async def test_whoever_is_cancelled_cancels_all() -> None:
    begun, cancelled = asyncio.Semaphore(0), list[int]()

    async def endless(number: int) -> list[Outcome]:
        begun.release()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return []

    both = asyncio.create_task(together([endless(1), endless(2)]))
    await begun.acquire()
    await begun.acquire()
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both
    assert cancelled == [1, 2]


async def test_nothing_to_try_gives_nothing() -> None:
    assert await together([]) == []
