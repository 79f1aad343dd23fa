"""What a publishing lane says of itself."""

from __future__ import annotations

from typing import Any, cast

import pytest

from relayfleet.amqp.errors import AmqpError, ConnectionLost
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq.declaring import MaybeLost
from relayfleet.relay.spool.rabbitmq.lane import PublishLane
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane, Queue, Topology


def lane() -> PublishLane:
    return PublishLane("a", Target(Broker(()), lambda: ("", "")), Topology("pool", 3), lambda: None)


def test_a_lane_without_a_connection_gives_the_links_reason() -> None:
    assert lane().why_not == "not connected yet"


def test_a_lane_that_was_lost_before_its_link_knows_blames_no_full_buffer() -> None:
    subject = lane()
    subject.link.why = ""
    assert "lost" in subject.why_not


@pytest.mark.parametrize("all_answer", [True, False])
async def test_a_lane_whose_pool_is_older_than_the_relay_waits_for_no_node_to_make_queues_for_copies(
    monkeypatch: pytest.MonkeyPatch, all_answer: bool
) -> None:
    async def declare(connection: Any, queues: list[Queue], others: Any) -> None:
        if not all_answer and any("17280" in each.name for each in queues):
            raise MaybeLost("a node does not answer")

    monkeypatch.setattr("relayfleet.relay.spool.rabbitmq.lane.declare", declare)
    subject = lane()
    await subject._declare(cast("Any", None))
    assert subject.keeps_copies is all_answer
    assert ("pool.v1.wait.17280.a" in subject.queues) is all_answer
    assert "pool.v1.wait.14400.a" in subject.queues


async def test_a_connection_that_was_lost_over_a_queue_for_copies_is_followed_by_one_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that cannot make a queue closes the connection; a lane that asked it again each time would never come up."""
    asked = []

    async def declare(connection: Any, queues: list[Queue], others: Any) -> None:
        asked.append("copies" if any("17280" in each.name for each in queues) else "mail")
        if asked[-1] == "copies":
            raise ConnectionLost("541 INTERNAL_ERROR")

    monkeypatch.setattr("relayfleet.relay.spool.rabbitmq.lane.declare", declare)
    subject = lane()
    for _ in range(3):
        await subject._declare(cast("Any", None))
    assert asked == ["mail", "copies", "mail", "mail", "copies"]
    assert not subject.keeps_copies


async def test_a_lane_that_lacks_another_queue_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    async def declare(connection: Any, queues: list[Queue], others: Any) -> None:
        raise MaybeLost("a node does not answer")

    monkeypatch.setattr("relayfleet.relay.spool.rabbitmq.lane.declare", declare)
    with pytest.raises(AmqpError):
        await lane()._declare(cast("Any", None))


@pytest.mark.parametrize(
    ("keeps_copies", "expected"), [(True, {"14400.a 12000.b", "17280.a 14400.b"}), (False, {"14400.a 14400.b"})]
)
async def test_a_copy_goes_to_the_queue_of_the_length_that_was_meant_where_there_is_one(
    keeps_copies: bool, expected: set[str]
) -> None:
    spool, found = RabbitMQSpool(Broker((), queue_prefix="pool"), lambda: ("", "")), set[str]()
    for each in spool._publisher.lanes.values():
        each.keeps_copies = keeps_copies

    async def store(
        queue: Any, body: bytes, message_id: str, prefer: Lane = "a", expires: int | None = None, **_: bool
    ) -> None:
        found.add(" ".join(queue(lane).removeprefix("pool.v1.wait.") for lane in LANES))

    spool._publisher.store = store  # type: ignore[method-assign]
    for number in range(40):
        await spool._put_off(b"", f"ID.{number}", 14000.0)
    assert found == expected
