"""Two relays settle copies of one record while a rule is stated: their successors have one name each, and other recipients."""

from __future__ import annotations

from typing import Any, cast

import pytest

from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.content import header_payload
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import Successor
from relayfleet.relay.spool.places import FRONT
from relayfleet.relay.spool.rabbitmq.consumer import Consumer, RabbitHeld
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.topology import Topology
from relayfleet.relay.spool.rabbitmq.ways import Ways
from relayfleet.relay.spool.record import Recipient, Record, decode, encode
from tests.unit.spool.test_put_aside import Channel


class Scene:
    """A consumer that is handed copies."""

    def __init__(self) -> None:
        self.channel = Channel()
        ways = Ways(lambda body, _: decode(body), self._store, cast("Any", None), cast("Any", None))
        self.consumer = Consumer(Target(Broker(()), lambda: ("", "")), Topology("p", 3), 10, ways, lambda size: None)

    def deliver(self, tag: int, *recipients: str) -> None:
        record = Record("ID", "a", tuple(map(Recipient, recipients)), b"", attempt=6)
        delivery = Delivery(tag, False, header_payload(4, record.key, "1"), encode(record))
        self.consumer._deliver(cast("ConsumeChannel", self.channel), delivery)

    def taken(self) -> RabbitHeld:
        held = self.consumer._buffers[FRONT].get_nowait()
        self.consumer._unbuffer(held)
        return held

    @property
    def waiting(self) -> int:
        return self.consumer._buffers[FRONT].qsize()

    async def _store(self, successor: Successor) -> None:
        raise AssertionError(successor)


@pytest.mark.parametrize("late", [False, True])
async def test_copies_of_one_name_with_other_recipients_are_worked_on_one_after_the_other(late: bool) -> None:
    scene = Scene()
    scene.deliver(1, "a@one.test")
    first = scene.taken()
    if not late:
        scene.deliver(2, "b@two.test")
        scene.deliver(3, "a@one.test")
        assert scene.waiting == 0, "the journal lets one relay claim twice"
    await first.settle()
    if late:
        scene.deliver(2, "b@two.test")
        scene.deliver(3, "a@one.test")
    assert scene.channel.acked == [1, 3] or late
    second = scene.taken()
    assert [each.address for each in second.record.recipients] == ["b@two.test"]
    await second.settle()
    scene.deliver(4, "b@two.test", "a@one.test")
    assert (sorted(scene.channel.acked), scene.waiting) == ([1, 2, 3, 4], 0)


async def test_of_those_that_are_not_ours_any_more_none_takes_its_place() -> None:
    scene = Scene()
    scene.deliver(1, "a@one.test")
    first = scene.taken()
    gone, scene.channel = scene.channel, Channel()
    scene.deliver(2, "b@two.test")
    lost, scene.channel = scene.channel, gone
    lost.is_open = False
    scene.deliver(3, "c@two.test")
    await first.settle()
    assert [each.address for each in scene.taken().record.recipients] == ["c@two.test"]
    assert scene.waiting == 0
