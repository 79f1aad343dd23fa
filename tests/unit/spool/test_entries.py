"""The journal's lines: what relays go by, what only events are made of, and what relays of other versions make of both."""

from __future__ import annotations

import json
import time

import pytest

from relayfleet.relay.spool.interface import NOTHING_SEEN
from relayfleet.relay.spool.rabbitmq.entries import Entry, decode, encode, lines
from relayfleet.relay.spool.rabbitmq.ledger import Ledger
from relayfleet.relay.spool.record import message_id

PLACE = ("r/1", 1.5, 7)
DETAIL = {"message_id": "<a@b>", "accepted": 1.0}
CLAIM = Entry("claim", "k.0", ("a@x.test",), *PLACE, source="eu-1", host="mx.x.test", detail=DETAIL)
OUTCOME = Entry("outcome", "k.0", ("a@x.test",), *PLACE, delivered=True, answer="250 ok", detail=DETAIL)
PURGE = Entry("purge", "k.0", ("a@x.test",), *PLACE, rule="away", detail=DETAIL)
WITHDRAWAL = Entry("withdrawal", "k.0", ("a@x.test",), *PLACE)
MARK = Entry("mark", "", (), *PLACE)
DESTINATION = Entry("destination", "", ("mx.a.test", "mx.b.test"), *PLACE, dead=True, answer="refused", tries=True)
EVENT = Entry("event", "k.0", ("a@x.test",), *PLACE, name="bounced", detail={"code": 550})
OF_BEFORE = (
    ["claim", "k.0", ["a@x.test"], "r/1", 1.5, 7, "eu-1", "mx.x.test"],
    ["outcome", "k.0", ["a@x.test"], "r/1", 1.5, 7, True, "250 ok"],
    ["purge", "k.0", ["a@x.test"], "r/1", 1.5, 7, "away"],
    ["withdrawal", "k.0", ["a@x.test"], "r/1", 1.5, 7],
    ["mark", "", [], "r/1", 1.5, 7],
)
"""As relays wrote before there were events."""


def test_relays_go_by_all_entries_but_events_and_readers_of_events_see_all_with_their_lines() -> None:
    body = encode([EVENT, CLAIM, OUTCOME, EVENT, PURGE, WITHDRAWAL, MARK, DESTINATION])
    assert decode(body) == [CLAIM, OUTCOME, PURGE, WITHDRAWAL, MARK, DESTINATION]
    assert list(lines(body)) == list(enumerate([EVENT, CLAIM, OUTCOME, EVENT, PURGE, WITHDRAWAL, MARK, DESTINATION]))


def test_lines_of_before_are_read_without_a_detail() -> None:
    found = decode("\n".join(map(json.dumps, OF_BEFORE)).encode())
    assert [each.kind for each in found] == ["claim", "outcome", "purge", "withdrawal", "mark"]
    assert all(each.detail == {} for each in found)
    assert (found[0].source, found[0].host) == ("eu-1", "mx.x.test")
    assert (found[1].delivered, found[1].answer, found[2].rule) == (True, "250 ok", "away")


def test_relays_of_before_find_what_they_know_where_it_was_and_a_kind_that_they_leave_out() -> None:
    written = [json.loads(line) for line in encode([CLAIM, OUTCOME, PURGE, WITHDRAWAL, MARK]).split(b"\n")]
    assert [row[: len(old)] for row, old in zip(written, OF_BEFORE, strict=True)] == list(OF_BEFORE)
    assert not {json.loads(encode([each]))[0] for each in (EVENT, DESTINATION)} & {old[0] for old in OF_BEFORE}


def test_a_word_on_a_destination_says_nothing_of_any_mail() -> None:
    ledger = Ledger()
    assert ledger.apply(DESTINATION, 0.0)
    assert ledger.seen("", DESTINATION.recipients) == NOTHING_SEEN


@pytest.mark.parametrize("behind", ["text", 5, None, [1]])
def test_a_claim_is_a_claim_whatever_stands_behind_it(behind: object) -> None:
    (found,) = decode(json.dumps([*OF_BEFORE[0], behind]).encode())
    assert (found.kind, found.detail) == ("claim", {})


def test_lines_that_are_none_keep_their_number() -> None:
    body = b'["later kind","k.0",[],"r/1",1.5,7]\n' + encode([MARK]) + b"\nnoise\n" + encode([CLAIM])
    assert list(lines(body)) == [(1, MARK), (3, CLAIM)]


def test_an_event_changes_nothing_for_a_ledger() -> None:
    ledger = Ledger()
    assert ledger.apply(CLAIM, 0.0)
    before = ledger.seen("k.0", ["a@x.test"])
    assert ledger.apply(EVENT, 0.0)
    assert ledger.seen("k.0", ["a@x.test"]) == before
    assert not before.delivered
    assert before.uncertain == {"a@x.test"}


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (b"From: a@b\r\nMessage-ID: <one@b>\r\nTo: c@d\r\n\r\nMessage-ID: <two@b>\r\n", "<one@b>"),
        (b"message-id:<one@b>\r\n\r\n", "<one@b>"),
        (b"Message-ID:\r\n <one@b>\r\n\r\n", "<one@b>"),
        (b"Message-ID: <one@b>", "<one@b>"),
        (b"X-Message-ID: <one@b>\r\n\r\n", ""),
        (b"From: a@b\r\n\r\nMessage-ID: <two@b>\r\n", ""),
        (b"\r\nMessage-ID: <two@b>\r\n\r\n", ""),
        (b"Message-ID: \r\n\r\n", ""),
        (b"Message-ID: \xff\r\n\r\n", "�"),
        (b"Message-ID: " + b"x" * 300 + b"\r\n\r\n", "x" * 250),
        (b"Message-ID: " + "\U0001f600".encode() * 300 + b"\r\n\r\n", "\U0001f600" * 250),
        (b"Message-ID \t: <one@b>\r\n\r\n", "<one@b>"),
        (b"X: y\r\n" * 50_000 + b"Message-ID: <far@b>\r\n\r\n", ""),
        (b"", ""),
    ],
)
def test_the_message_id_is_the_one_of_the_header(message: bytes, found: str) -> None:
    assert message_id(message) == found


def test_an_endless_head_or_message_id_costs_no_more_than_others() -> None:
    for message in (b"Message-ID: " + b"\xff" * 2**25, b"X: y\r\n" * 2**22):
        began = time.thread_time()
        message_id(message)
        assert time.thread_time() - began < 0.05
