"""Words of other relays on destinations, as a journal that reads hands them on."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import cast

import pytest

from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import Seen, Word
from relayfleet.relay.spool.rabbitmq import RabbitMQJournal
from relayfleet.relay.spool.rabbitmq.entries import Entry, encode
from relayfleet.relay.spool.record import Recipient, Record

RECORD = Record("ID", "a@sender.test", (Recipient("b@one.test"),), b"")
HOSTS = ("mx.a.test", "mx.b.test")


def said(seconds_ago: float, *, tries: bool = False) -> Entry:
    at = time.time() - seconds_ago
    return Entry("destination", "", HOSTS, "other/1", at, 1, answer="refused", dead=True, tries=tries)


def read(subject: RabbitMQJournal, *entries: Entry) -> None:
    channel = cast("ConsumeChannel", SimpleNamespace(ack=lambda tag: None))
    delivery = SimpleNamespace(tag=1, headers={"x-stream-offset": 1}, body=encode(entries))
    subject._read(channel, cast("Delivery", delivery))


def journal() -> RabbitMQJournal:
    return RabbitMQJournal(Broker(()), lambda: ("", ""))


def test_a_word_comes_with_its_age_and_none_of_our_own_comes() -> None:
    subject, heard = journal(), list[Word]()
    subject.listen(heard.append)
    ours = Entry("destination", "", HOSTS, subject.holder, time.time(), 2, dead=True)
    read(subject, said(100.0), said(-5.0, tries=True), ours)
    assert [(each.destination, each.dead, each.tries) for each in heard] == [(HOSTS, True, False), (HOSTS, True, True)]
    assert [each.age for each in heard] == pytest.approx([100.0, 0.0], abs=2.0)


def test_a_fault_of_who_listens_hides_no_claim() -> None:
    subject, known = journal(), list[Seen]()

    def fails(word: Word) -> None:
        known.append(subject._ledger.seen(RECORD.key, ["b@one.test"]))
        raise RuntimeError("a fault of ours")

    subject.listen(fails)
    claim = Entry("claim", RECORD.key, ("b@one.test",), "other/1", time.time(), 2, source="eu-1", host="mx.one.test")
    read(subject, said(0.0), claim)
    assert [each.uncertain for each in known] == [{"b@one.test"}], "claims come first"
    assert subject._ledger.seen(RECORD.key, ["b@one.test"]).uncertain
