"""In which lane a record waits: the same one whichever relay stores it, so that copies of it come back together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import Successor
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq.topology import Lane
from relayfleet.relay.spool.record import Record, new_id


async def lanes(record: Record) -> set[str]:
    """Those that were preferred for it in many waits."""
    spool, preferred = RabbitMQSpool(Broker(()), lambda: ("", "")), set[str]()

    async def store(
        queue: Any, body: bytes, message_id: str, prefer: Lane = "a", expires: int | None = None, **_: bool
    ) -> None:
        preferred.add(prefer)

    spool._publisher.store = store  # type: ignore[method-assign]
    for _ in range(60):
        await spool._succeed(Successor(record, 60.0))
    return preferred


async def test_copies_of_a_held_record_wait_in_one_lane_and_all_records_in_both() -> None:
    held = [Record(new_id(), "", (), b"", attempt=1, part="h1") for _ in range(60)]
    found = [await lanes(each) for each in held]
    assert all(len(each) == 1 for each in found)
    assert set.union(*found) == {"a", "b"}


async def test_copies_of_a_deferred_record_wait_in_one_lane_and_each_attempt_chooses_anew() -> None:
    patterns = set()
    for _ in range(8):
        mail = Record(new_id(), "", (), b"")
        found = [await lanes(replace(mail, attempt=attempt)) for attempt in range(1, 9)]
        assert all(len(each) == 1 for each in found)
        patterns.add("".join(each.pop() for each in found))
    assert len(patterns) > 2


async def test_what_waits_for_its_key_stays_in_one_lane() -> None:
    spool, preferred = RabbitMQSpool(Broker(()), lambda: ("", "")), set[str]()

    async def store(
        queue: Any, body: bytes, message_id: str, prefer: Lane = "a", expires: int | None = None, **_: bool
    ) -> None:
        preferred.add(prefer)

    spool._publisher.store = store  # type: ignore[method-assign]
    for _ in range(60):
        await spool._put_off(b"sealed", "01ABC.3", 60.0)
    assert len(preferred) == 1
