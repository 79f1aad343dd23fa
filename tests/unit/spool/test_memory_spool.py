"""The fake keeps the interface's promises, so that tests which use it prove something."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.relay.spool.interface import Spool, SpoolFull, SpoolUnavailable, Successor
from relayfleet.relay.spool.record import Recipient, Record
from tests.fakes.spool import MemorySpool


def record(name: str, attempt: int = 0) -> Record:
    return Record(name, "a@example.com", (Recipient("b@example.org"),), b"Subject: x\r\n\r\nhello\r\n", attempt=attempt)


async def test_records_come_out_in_the_order_in_which_they_went_in() -> None:
    spool: Spool = MemorySpool()
    for name in ("one", "two"):
        await spool.put(record(name))
    assert [(await spool.take()).record.id for _ in range(2)] == ["one", "two"]


async def test_take_waits_for_a_record_and_a_cancelled_take_loses_none() -> None:
    spool = MemorySpool()
    waiting = asyncio.create_task(spool.take())
    await asyncio.sleep(0)
    waiting.cancel()
    await spool.put(record("one"))
    assert (await spool.take()).record.id == "one"


async def test_successors_go_to_ready_delayed_or_quarantine() -> None:
    spool = MemorySpool()
    await spool.put(record("one"))
    held = await spool.take()
    await held.settle(
        [
            Successor(record("one", 1)),
            Successor(record("one", 2), delay=60),
            Successor(record("one", 3), quarantine=True),
        ]
    )
    assert [each.attempt for each, _ in spool.waiting] == [1]
    assert [each.record.attempt for each in spool.delayed] == [2]
    assert [each.attempt for each in spool.quarantined] == [3]
    assert spool.held == []


async def test_a_scripted_failure_leaves_the_record_held() -> None:
    spool = MemorySpool()
    await spool.put(record("one"))
    held = await spool.take()
    spool.fail_next.append(SpoolFull("quota"))
    with pytest.raises(SpoolFull):
        await held.settle()
    assert spool.held == [held]


async def test_a_lost_connection_gives_the_record_to_others() -> None:
    spool = MemorySpool()
    await spool.put(record("one"))
    held = await spool.take()
    spool.lose_connection()
    with pytest.raises(SpoolUnavailable):
        await held.settle()
    assert (await spool.take()).redelivered
