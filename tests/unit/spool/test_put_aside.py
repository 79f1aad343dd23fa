"""What cannot be handed out is put elsewhere as it came, and let go of only when it is there."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.content import header_payload
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import SpoolUnavailable, Successor
from relayfleet.relay.spool.rabbitmq import consumer as consuming
from relayfleet.relay.spool.rabbitmq.consumer import Consumer
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.topology import Topology
from relayfleet.relay.spool.rabbitmq.ways import Ways
from relayfleet.relay.spool.record import Record, RecordError
from relayfleet.relay.spool.sealer import KeyMissingError


class Channel:
    """What the consumer did to the broker."""

    def __init__(self) -> None:
        self.is_open = True
        self.acked: list[int] = []

    def ack(self, tag: int) -> None:
        self.acked.append(tag)


class Scene:
    """A consumer that is handed one body; `error` is what opening it raises, `failures` how often storing it elsewhere fails first."""

    def __init__(self, error: Exception, failures: int = 0) -> None:
        self.error, self.failures = error, failures
        self.went: list[tuple[Any, ...]] = []
        self.channel = Channel()
        ways = Ways(self._open, self._store, self._put_off, self._quarantine)
        topology = Topology("p", 3)
        self.consumer = Consumer(Target(Broker(()), lambda: ("", "")), topology, 10, ways, lambda size: None)

    async def deliver(self) -> None:
        delivery = Delivery(7, False, header_payload(4, "01ABC.0", "1"), b"body")
        self.consumer._deliver(cast("ConsumeChannel", self.channel), delivery)
        await asyncio.gather(*self.consumer._aside)

    def _open(self, body: bytes, message_id: Any) -> Record:
        raise self.error

    async def _store(self, successor: Successor) -> None:
        raise AssertionError(successor)

    async def _put_off(self, body: bytes, message_id: str, delay: float) -> None:
        self._went("later", body, message_id, delay)

    async def _quarantine(self, body: bytes, message_id: str) -> None:
        self._went("quarantine", body, message_id)

    def _went(self, *what: Any) -> None:
        assert self.channel.acked == []
        if self.failures:
            self.failures -= 1
            raise SpoolUnavailable("no confirm")
        self.went.append(what)


async def test_a_record_whose_key_is_missing_waits_as_it_is_under_its_own_name() -> None:
    scene = Scene(KeyMissingError("1" * 16, 240.0))
    await scene.deliver()
    assert scene.went == [("later", b"body", "01ABC.0", 240.0)]
    assert scene.channel.acked == [7]


async def test_a_broken_seal_goes_to_quarantine_under_its_own_name() -> None:
    scene = Scene(RecordError("broken"))
    await scene.deliver()
    assert scene.went == [("quarantine", b"body", "01ABC.0")]
    assert scene.channel.acked == [7]


async def test_nothing_is_let_go_of_before_it_is_stored_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consuming, "_RETRY", 0.0)
    scene = Scene(KeyMissingError("1" * 16, 15.0), failures=3)
    await scene.deliver()
    assert (len(scene.went), scene.channel.acked) == (1, [7])


async def test_a_record_that_is_with_others_by_now_is_not_let_go_of() -> None:
    scene = Scene(KeyMissingError("1" * 16, 15.0))
    scene.channel.is_open = False
    await scene.deliver()
    assert (scene.went, scene.channel.acked) == ([], [])
