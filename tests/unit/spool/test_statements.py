"""How statements leave for the journal: together, in order, and never more at once than a broker takes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from relayfleet.relay.spool.interface import SpoolUnavailable
from relayfleet.relay.spool.rabbitmq.entries import Entry, decode, lines
from relayfleet.relay.spool.rabbitmq.statements import MOST_BYTES, MOST_WAITING, Statements


class Channel:
    """Keeps what is published; the test confirms it."""

    is_open = True

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.stored: asyncio.Future[None] = asyncio.Future()

    def publish(self, queue: str, body: bytes, message_id: str) -> Any:
        self.bodies.append(body)
        self.stored = asyncio.Future()
        return self

    def confirm(self) -> None:
        self.stored.set_result(None)


def entry(number: int, kind: Any = "claim", size: int = 1) -> Entry:
    return Entry(kind, "k.0", ("x" * size,), "r/1", 1.0, number, name="deferred" if kind == "event" else "")


async def stated(subject: Statements, *entries: Entry) -> list[asyncio.Task[float]]:
    tasks = [asyncio.create_task(subject.state(each)) for each in entries]
    await asyncio.sleep(0)
    return tasks


async def test_what_is_too_much_for_one_message_leaves_in_several_in_order() -> None:
    subject, channel = Statements("journal"), Channel()
    subject.use(channel)  # type: ignore[arg-type]
    tasks = await stated(subject, entry(0))
    tasks += await stated(
        subject, *(entry(each, size=MOST_BYTES // 3) for each in range(1, 6)), entry(6, size=3 * MOST_BYTES)
    )
    while not all(each.done() for each in tasks):
        channel.confirm()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [len(each) <= MOST_BYTES for each in channel.bodies] == [True, True, True, True, False]
    assert [each.number for body in channel.bodies for each in decode(body)] == list(range(7))
    await asyncio.gather(*tasks)


async def test_a_statement_tells_when_it_left_and_not_when_it_began_to_wait_for_others() -> None:
    subject, channel = Statements("journal"), Channel()
    subject.use(channel)  # type: ignore[arg-type]
    tasks = await stated(subject, entry(0), entry(1))
    await asyncio.sleep(0.05)
    first_came = time.monotonic()
    while not all(each.done() for each in tasks):
        channel.confirm()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    first, second = await asyncio.gather(*tasks)
    assert first + 0.04 < first_came <= second


async def test_events_do_not_fill_the_memory_while_the_broker_blocks_us_and_claims_go_on() -> None:
    subject, channel = Statements("journal"), Channel()
    subject.use(channel)  # type: ignore[arg-type]
    await stated(subject, entry(0))
    tasks = await stated(subject, *(entry(each, "event") for each in range(1, MOST_WAITING + 1)))
    with pytest.raises(SpoolUnavailable, match="behind"):
        await subject.state(entry(9, "event"))
    (claim,) = await stated(subject, entry(MOST_WAITING + 1))
    while not claim.done():
        channel.confirm()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, claim)
    assert sum(len(list(lines(body))) for body in channel.bodies) == MOST_WAITING + 2


async def test_what_is_owed_does_not_fill_the_memory_while_the_broker_blocks_us() -> None:
    subject, channel = Statements("journal"), Channel()
    subject.use(channel)  # type: ignore[arg-type]
    await stated(subject, entry(0))
    for number in range(MOST_WAITING):
        subject.owe(entry(number, "withdrawal"))
    for _ in range(20):
        await subject.pay(0.01)
    assert len(subject._waiting) < 2 * MOST_WAITING
    assert len(subject._owed) == MOST_WAITING


async def test_what_is_being_paid_when_a_relay_leaves_is_still_owed() -> None:
    subject, channel = Statements("journal"), Channel()
    subject.use(channel)  # type: ignore[arg-type]
    await stated(subject, entry(0))
    subject.owe(entry(1, "withdrawal"))
    paying = asyncio.create_task(subject.pay(60))
    await asyncio.sleep(0)
    paying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying
    assert [each.number for each in subject._owed] == [1]
