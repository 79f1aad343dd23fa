"""Others hear that a copy is settled when what becomes of it is stored, and not before: also when it is not ours to let go of any more."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.content import header_payload
from relayfleet.amqp.errors import ConnectionLost
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.events.event import events
from relayfleet.relay.spool.interface import SpoolUnavailable, Successor
from relayfleet.relay.spool.rabbitmq import RabbitMQJournal
from relayfleet.relay.spool.rabbitmq.consumer import Consumer, RabbitHeld
from relayfleet.relay.spool.rabbitmq.entries import Entry, decode, encode
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.statements import MOST_OWED, Statements
from relayfleet.relay.spool.rabbitmq.topology import Topology
from relayfleet.relay.spool.rabbitmq.ways import Ways
from relayfleet.relay.spool.record import Recipient, Record
from relayfleet.relay.spool.record import encode as as_bytes

RECORD = Record("ID", "a", (Recipient("b@one.test"),), b"", attempt=6)
LATER = Successor(Record("ID", "a", (Recipient("b@one.test"),), b"", attempt=7), 60.0)


class Scene:
    """A consumer with one record in hand; what happens is written down in order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.is_open = self.stores = True
        ways = Ways(cast("Any", None), self._store, cast("Any", None), cast("Any", None))
        consumer = Consumer(Target(Broker(()), lambda: ("", "")), Topology("p", 3), 10, ways, lambda size: None)
        delivery = Delivery(1, False, header_payload(4, RECORD.key, "1"), as_bytes(RECORD))
        self.held = RabbitHeld(consumer, cast("ConsumeChannel", self), delivery, RECORD)

    async def settle(self, *successors: Successor) -> None:
        await self.held.settle(successors, lambda: self.happened.append("told"))

    def ack(self, tag: int) -> None:
        if not self.is_open:
            raise ConnectionLost("gone")
        self.happened.append("let go")

    async def _store(self, successor: Successor) -> None:
        await asyncio.sleep(0)
        if not self.stores:
            raise SpoolUnavailable("no majority")
        self.happened.append(f"stored {successor.record.key}")


async def test_it_is_told_between_the_successors_and_the_end() -> None:
    scene = Scene()
    await scene.settle(LATER)
    assert scene.happened == ["stored ID.7", "told", "let go"]


async def test_it_is_told_of_a_record_that_was_lost_while_its_successor_was_stored() -> None:
    scene = Scene()
    settling = asyncio.create_task(scene.settle(LATER))
    await asyncio.sleep(0)
    scene.is_open = False
    with pytest.raises(SpoolUnavailable):
        await settling
    assert scene.happened == ["stored ID.7", "told"]


@pytest.mark.parametrize("is_ours", [True, False])
async def test_it_is_not_told_of_a_record_whose_successor_is_not_stored(is_ours: bool) -> None:
    scene = Scene()
    scene.is_open, scene.stores = is_ours, False
    with pytest.raises(SpoolUnavailable):
        await scene.settle(LATER)
    assert scene.happened == []


def entry(kind: Any, number: int = 1) -> Entry:
    return Entry(kind, "ID.6", ("b@one.test",), "one/1", 1.0, number)


def test_what_is_settled_is_owed_to_the_journal() -> None:
    journal = RabbitMQJournal(Broker(()), lambda: ("", ""))
    journal.settled(Scene().held, ["b@one.test"])
    (owed,) = decode(encode(journal._statements._owed))
    assert (owed.kind, owed.key, owed.recipients) == ("settled", "ID.6", ("b@one.test",))
    assert owed.holder == journal.holder


def test_no_withdrawal_is_forgotten_for_what_is_settled() -> None:
    subject = Statements("journal")
    subject.owe(entry("withdrawal", 0))
    for number in range(1, MOST_OWED + 5):
        subject.owe(entry("settled", number))
    assert (len(subject._owed), subject._owed[0].kind) == (MOST_OWED, "withdrawal")
    subject.owe(entry("withdrawal", 7))
    assert subject._owed[-1].kind == "withdrawal"


def test_readers_of_events_are_told_what_became_of_it_by_an_event_and_not_twice() -> None:
    assert list(events(5, encode([entry("settled")]), "pool")) == []
