"""What the journal is told of an attempt: each recipient who was not delivered to or purged, once, with what becomes of him."""

from __future__ import annotations

from dataclasses import replace

from relayfleet.protocol.relay_config import DeliveryRule, Retry
from relayfleet.relay.delivery.events import quarantined, settled
from relayfleet.relay.delivery.judging import UNREACHABLE, ruled
from relayfleet.relay.delivery.outcome import Fate, Outcome, Place
from relayfleet.relay.delivery.settlement import decide
from relayfleet.relay.replies.verdict import Action, Scope, Verdict
from relayfleet.relay.spool.interface import Event
from relayfleet.relay.spool.record import Recipient, Record

NOW = 1.7e9
PLACE = Place("eu-1", "mx.one.test", "192.0.2.1", tls=True)
GONE = Verdict(Scope.RECIPIENT, "UnknownUser", Action.FAIL, "unknown-user")


def record(*addresses: str, **changes: object) -> Record:
    base = Record("ID", "a@sender.test", tuple(map(Recipient, addresses)), b"X: y\r\n\r\n", NOW - 60)
    return replace(base, **changes)  # type: ignore[arg-type]


def transient(address: str, place: Place = PLACE) -> Outcome:
    return Outcome(Recipient(address), Fate.TRANSIENT, "connect", 0, "4.4.1", "refused", place, UNREACHABLE)


def permanent(address: str) -> Outcome:
    return Outcome(Recipient(address), Fate.PERMANENT, "rcpt", 550, "5.1.1", "5.1.1 no", PLACE, GONE)


def delivered(address: str) -> Outcome:
    return Outcome(Recipient(address), Fate.DELIVERED, "end", 250, "", "ok", PLACE)


def held(address: str) -> Outcome:
    return ruled(Recipient(address), DeliveryRule("wait", "Hold", ()))


def told(subject: Record, *outcomes: Outcome, now: float = NOW) -> list[Event]:
    return settled(subject, outcomes, decide(subject, outcomes, now, Retry(), 0.5, "relay.test").successors)


def test_a_deferral_says_why_by_whom_and_when_it_goes_on() -> None:
    subject = record("a@x.test", "b@x.test")
    outcomes = [transient("a@x.test"), transient("b@x.test")]
    decision = decide(subject, outcomes, NOW, Retry(), 0.5, "relay.test")
    (event,) = settled(subject, outcomes, decision.successors)
    assert (event.name, event.recipients) == ("deferred", ("a@x.test", "b@x.test"))
    assert event.detail == {
        "reason": "Unreachable",
        "phase": "connect",
        "status": "4.4.1",
        "text": "refused",
        "source": "eu-1",
        "host": "mx.one.test",
        "address": "192.0.2.1",
        "next": round(decision.successors[0].record.next_at, 3),
    }


def test_a_refused_recipient_is_bounced_beside_one_who_goes_on() -> None:
    bounced, deferred = told(
        record("p@x.test", "t@x.test", "d@x.test"), permanent("p@x.test"), transient("t@x.test"), delivered("d@x.test")
    )
    assert (bounced.name, bounced.recipients) == ("bounced", ("p@x.test",))
    assert (bounced.detail["code"], bounced.detail["status"], bounced.detail["reason"]) == (550, "5.1.1", "UnknownUser")
    assert "next" not in bounced.detail
    assert "expired" not in bounced.detail
    assert (deferred.name, deferred.recipients) == ("deferred", ("t@x.test",))


def test_what_was_tried_in_vain_until_its_time_was_over_is_bounced_as_expired() -> None:
    (event,) = told(record("t@x.test"), transient("t@x.test"), now=NOW + 30 * 86400)
    assert (event.name, event.detail["expired"], event.detail["text"]) == ("bounced", True, "refused")


def test_who_was_delivered_to_or_purged_is_in_the_journal_already() -> None:
    purged = ruled(Recipient("w@x.test"), DeliveryRule("away", "Purge", ()))
    assert told(record("d@x.test", "w@x.test"), delivered("d@x.test"), purged) == []


def test_other_answers_are_other_events() -> None:
    there = replace(PLACE, host="mx.two.test")
    found = told(record("a@x.test", "b@y.test"), transient("a@x.test"), transient("b@y.test", there))
    assert [(each.name, each.detail["host"]) for each in found] == [
        ("deferred", "mx.one.test"),
        ("deferred", "mx.two.test"),
    ]


def test_a_hold_is_told_of_once_and_not_at_each_look() -> None:
    (event,) = told(record("h@x.test"), held("h@x.test"))
    assert (event.name, event.detail["reason"]) == ("held", "HoldByRule")
    assert event.detail["next"] > NOW
    assert told(record("h@x.test", attempt=1, part="h1"), held("h@x.test")) == []


def test_long_texts_are_cut() -> None:
    (event,) = told(record("a@x.test"), replace(permanent("a@x.test"), text="x" * 500))
    assert len(event.detail["text"]) == 300


def test_quarantine_is_told_of_with_its_reason() -> None:
    assert quarantined(record("a@x.test"), "why") == [Event("quarantined", ("a@x.test",), {"text": "why"})]
