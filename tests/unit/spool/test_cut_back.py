"""A journal whose stream was cut back knows nothing until it has read what is left of it to the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import Seen, SpoolUnavailable
from relayfleet.relay.spool.rabbitmq import RabbitMQJournal
from relayfleet.relay.spool.rabbitmq import journal as journal_module
from relayfleet.relay.spool.rabbitmq.entries import Entry, encode
from relayfleet.relay.spool.rabbitmq.journal import LOOK_BACK
from relayfleet.relay.spool.record import Recipient, Record

OTHER = "other/1"
RECORD = Record("k", "from@example.org", (Recipient("a"), Recipient("b")), b"", 0.0)


@dataclass
class Message:
    """What is looked at of a delivery."""

    body: bytes
    headers: dict[str, Any] = field(default_factory=dict)
    tag: int = 0


class NoChannel:
    """Takes acknowledgements."""

    def ack(self, tag: int) -> None:
        """Heard."""


class Stream:
    """Plays the broker: gives messages one by one."""

    def __init__(self, journal: RabbitMQJournal) -> None:
        self.journal = journal

    def give(self, offset: int, *entries: Entry) -> None:
        message = Message(encode(entries), {"x-stream-offset": offset})
        self.journal._read(cast("ConsumeChannel", NoChannel()), cast("Delivery", message))

    def mark(self, number: int) -> Entry:
        """One of the journal's own."""
        self.journal._mark = max(self.journal._mark, number)
        return Entry("mark", "", (), self.journal.holder, time.time(), number)


def outcome(recipient: str) -> Entry:
    return Entry("outcome", RECORD.key, (recipient,), OTHER, 1000.0, 1, delivered=True)


@pytest.fixture
def stream() -> Stream:
    """Of which a mark, and what became of `a`, were read."""
    opened = Stream(RabbitMQJournal(Broker(("127.0.0.1:1",)), lambda: ("", "")))
    assert opened.journal._begin_reading() == LOOK_BACK
    opened.give(0, opened.mark(1))
    opened.give(1, outcome("a"))
    return opened


async def test_what_was_said_after_the_cut_is_waited_for(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "TIMEOUT", 0.01)
    assert await stream.journal.seen(RECORD) == Seen(frozenset("a"))
    assert stream.journal._begin_reading() == 1
    stream.give(1, outcome("b"))
    assert stream.journal._begin_reading() == LOOK_BACK
    stream.give(0, Entry("mark", "", (), stream.journal.holder, time.time(), 1))
    with pytest.raises(SpoolUnavailable):
        await stream.journal.seen(RECORD)
    stream.give(1, outcome("b"))
    stream.give(2, stream.mark(2))
    assert await stream.journal.seen(RECORD) == Seen(frozenset("ab"))


async def test_who_resumes_where_all_is_as_before_goes_on(stream: Stream) -> None:
    assert stream.journal._begin_reading() == 1
    stream.give(1, outcome("a"))
    assert stream.journal._begin_reading() == 1
