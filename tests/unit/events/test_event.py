"""From entries to events, and the place of each."""

from __future__ import annotations

import pytest

from relayfleet.relay.events.event import REMEMBERED, Acceptances, Position, PositionError, events, missing
from relayfleet.relay.spool.rabbitmq.entries import Entry, decode, encode

PLACE = ("relay-1/ab12", 1.5e9, 7)
TO = ("a@x.test",)
FIRST = {"message_id": "<m@shop>", "accepted": 1.5e9 - 0.25, "accepted_for": 2, "credential": "shop"}
CLAIM = Entry("claim", "ID.0", TO, *PLACE, source="eu-1", host="mx1.mail.test", detail=FIRST)


def found(*entries: Entry) -> list[dict[str, object]]:
    return [event for _, event in events(9, encode(entries), "tx")]


def test_the_first_claim_tells_of_the_acceptance_and_of_itself() -> None:
    accepted, attempt = found(CLAIM)
    assert accepted == {
        "offset": "9-0",
        "event": "accepted",
        "time": "2017-07-14T02:39:59.750Z",
        "pool": "tx",
        "record": "ID",
        "messageId": "<m@shop>",
        "recipientCount": 2,
        "credential": "shop",
    }
    assert attempt == {
        "offset": "9-1",
        "event": "attempt",
        "time": "2017-07-14T02:40:00.000Z",
        "pool": "tx",
        "record": "ID",
        "messageId": "<m@shop>",
        "attempt": 0,
        "recipients": ["a@x.test"],
        "relay": "relay-1",
        "source": "eu-1",
        "host": "mx1.mail.test",
        "provider": "mail.test",
    }


def test_an_answer_is_taken_apart() -> None:
    detail = {"message_id": "<m@shop>", "source": "eu-1", "host": "mx1.mail.test"}
    (event,) = found(Entry("outcome", "ID.3h2", TO, *PLACE, delivered=True, answer="250 2.6.0 queued", detail=detail))
    assert (event["event"], event["attempt"], event["record"]) == ("delivered", 3, "ID")
    assert (event["code"], event["status"], event["text"]) == (250, "2.6.0", "2.6.0 queued")
    assert (event["source"], event["host"], event["messageId"]) == ("eu-1", "mx1.mail.test", "<m@shop>")


@pytest.mark.parametrize(
    ("answer", "code", "status", "text"),
    [
        ("250 ok", 250, None, "ok"),
        ("250 ", 250, None, None),
        ("250 2.0.0", 250, "2.0.0", "2.0.0"),
        ("250 2.0.0.7 is no code", 250, None, "2.0.0.7 is no code"),
        ("odd", None, None, "odd"),
        ("", None, None, None),
    ],
)
def test_an_answer_of_any_shape_is_told(answer: str, code: int | None, status: str | None, text: str | None) -> None:
    (event,) = found(Entry("outcome", "ID.0", TO, *PLACE, delivered=False, answer=answer))
    assert (event["event"], event.get("code"), event.get("status"), event.get("text")) == (
        "refused",
        code,
        status,
        text,
    )


def test_what_relays_of_before_wrote_is_told_without_what_it_lacks() -> None:
    (event,) = found(Entry("claim", "ID.0", TO, *PLACE, source="", host=""))
    assert event["event"] == "attempt"
    assert not {"messageId", "source", "host", "provider"} & set(event)


def test_an_event_of_the_journal_is_told_under_its_name() -> None:
    detail = {
        "message_id": "<m@shop>",
        "reason": "Greylisted",
        "phase": "rcpt",
        "code": 451,
        "status": "4.7.1",
        "text": "later",
        "source": "eu-1",
        "host": "mx1.mail.test",
        "address": "192.0.2.1",
        "next": 1.5e9 + 60,
    }
    (event,) = found(Entry("event", "ID.2", TO, *PLACE, name="deferred", detail=detail))
    assert (event["event"], event["attempt"], event["next"]) == ("deferred", 2, "2017-07-14T02:41:00.000Z")
    assert {name: event[name] for name in detail if name not in ("message_id", "next")} == {
        name: value for name, value in detail.items() if name not in ("message_id", "next")
    }
    assert event["provider"] == "mail.test"


def test_withdrawals_and_purges_are_told_and_marks_are_not() -> None:
    purge = Entry("purge", "ID.0", TO, *PLACE, rule="away", detail=FIRST)
    silent = (
        Entry("mark", "", (), *PLACE),
        Entry("destination", "", ("mx.a.test",), *PLACE, dead=True, answer="refused"),
    )
    names = [event["event"] for event in found(Entry("withdrawal", "ID.0", TO, *PLACE), *silent)]
    assert names == ["withdrawn"]
    assert [(event["event"], event.get("rule")) for event in found(purge)] == [("accepted", None), ("purged", "away")]


def test_places_follow_one_another_and_do_not_move_with_what_a_reader_knows() -> None:
    later = b'["later kind","k.0",[],"r/1",1.5,7]\n'
    plain = Entry("withdrawal", "ID.0", TO, *PLACE)
    places = [place for place, _ in events(9, later + encode([CLAIM, plain]), "tx")]
    assert places == sorted(places)
    assert [str(each) for each in places] == ["9-2", "9-3", "9-5"]
    assert [Position.parse(str(each)) for each in places] == places


@pytest.mark.parametrize(
    "text", ["", "5", "5-", "-5", "a-1", "5-1-2", "5 -1", "٥-1", "9" * 19 + "-1", "9" * 5000 + "-1"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(PositionError, match="offset"):
        Position.parse(text)


def test_times_that_are_none_break_nothing() -> None:
    entry = Entry("event", "", (), "", 1e300, 0, name="odd", detail={"accepted": "never", "next": [1]})
    assert [event["event"] for event in found(entry)] == ["accepted", "odd"]


def test_a_gap_names_the_place_that_was_asked_for() -> None:
    event = missing(Position(5, 1), 90)
    assert (event["event"], event["offset"]) == ("gap", "5-1")
    assert "90" in event["text"]


def test_an_acceptance_is_told_once_and_what_is_remembered_of_it_is_bounded() -> None:
    acceptances = Acceptances()
    assert acceptances.news({"event": "accepted", "record": "A"})
    assert not acceptances.news({"event": "accepted", "record": "A"})
    assert acceptances.news({"event": "attempt", "record": "A"})
    for number in range(REMEMBERED):
        assert acceptances.news({"event": "accepted", "record": str(number)})
    assert acceptances.news({"event": "accepted", "record": "A"})


def test_lines_that_nobody_should_write_stop_no_reader() -> None:
    odd = [
        b'["claim","ID.%s",[],"r/1",1.5,7,"",""]' % (b"9" * 5000),
        b'["claim","ID.0",[],"r/1",1%s,7,"",""]' % (b"0" * 400),
        b'["claim","ID.0",[],"r/1",1.5,Infinity,"",""]',
        b'["claim","ID.0",[],"r/1",1.5,7,"","",' + b"[" * 100_000,
        b'["event","ID.0",[],"r/1",1.5,7,"odd",{"message_id":7,"accepted":[],"host":{},"code":"x"}]',
    ]
    body = b"\n".join([*odd, encode([CLAIM])])
    assert [event["event"] for _, event in events(9, body, "tx")] == [
        "attempt",
        "accepted",
        "odd",
        "accepted",
        "attempt",
    ]
    assert [each.kind for each in decode(body)] == ["claim", "claim"]
