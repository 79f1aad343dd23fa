"""In which lane a record waits."""

from __future__ import annotations

from typing import Any

from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import Successor
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq.topology import Lane
from relayfleet.relay.spool.record import Record, new_id


async def lanes(record: Record) -> set[str]:
    """Those that were preferred for it in many waits."""
    spool, preferred = RabbitMQSpool(Broker(()), lambda: ("", "")), set[str]()

    async def store(queue: Any, body: bytes, message_id: str, prefer: Lane = "a", expires: int | None = None) -> None:
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


async def test_what_is_deferred_waits_in_either_lane() -> None:
    assert await lanes(Record(new_id(), "", (), b"", attempt=1)) == {"a", "b"}
