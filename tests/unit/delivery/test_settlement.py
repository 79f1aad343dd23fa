"""What becomes of a record: the table of outcomes, and that nobody is forgotten."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.protocol.relay_config import Retry
from relayfleet.relay.delivery.judging import UNCERTAIN, UNREACHABLE
from relayfleet.relay.delivery.outcome import Fate, Outcome, Place
from relayfleet.relay.delivery.settlement import decide
from relayfleet.relay.replies.verdict import Action, Scope, Verdict
from relayfleet.relay.spool.record import Recipient, Record

NOW = 1.7e9
PLACE = Place("eu-1", "mx.one.test", "192.0.2.1")
GREY = Verdict(Scope.IP, "Greylisted", Action.RETRY, "greylisted")
GONE = Verdict(Scope.RECIPIENT, "UnknownUser", Action.FAIL, "unknown-user")
OUTCOMES = {
    Fate.DELIVERED: Outcome(Recipient("d@x.test"), Fate.DELIVERED, "end", 250, "", "ok", PLACE),
    Fate.TRANSIENT: Outcome(
        Recipient("t@x.test"), Fate.TRANSIENT, "connect", 0, "4.4.1", "refused", PLACE, UNREACHABLE
    ),
    Fate.PERMANENT: Outcome(Recipient("p@x.test"), Fate.PERMANENT, "rcpt", 550, "5.1.1", "5.1.1 no", PLACE, GONE),
    Fate.UNCERTAIN: Outcome(Recipient("u@x.test"), Fate.UNCERTAIN, "end", 0, "4.4.2", "lost", PLACE, UNCERTAIN),
}


def record(**changes: object) -> Record:
    base = Record("ID", "a@sender.test", tuple(each.recipient for each in OUTCOMES.values()), b"X: y\r\n\r\n", NOW - 60)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_each_fate_goes_where_it_belongs() -> None:
    settlement = decide(record(), list(OUTCOMES.values()), NOW, Retry(), 0.5, "relay.test")
    later, report = settlement.successors
    assert [each.address for each in later.record.recipients] == ["t@x.test", "u@x.test"]
    assert (later.record.attempt, later.record.id) == (1, "ID")
    assert later.record.last_answer == "4.4.1 refused"
    assert later.delay >= 600
    assert later.record.next_at == NOW + later.delay
    assert report.record.sender == ""
    assert report.delay == 0
    assert b"p@x.test" in report.record.message
    assert b"t@x.test" not in report.record.message
    assert (settlement.failed, settlement.deferred) == (1, 2)


def test_all_delivered_leaves_nothing() -> None:
    assert decide(record(), [OUTCOMES[Fate.DELIVERED]], NOW, Retry(), 0.5, "relay.test").successors == ()


def test_a_transient_failure_waits_by_the_schedule() -> None:
    (later,) = decide(record(attempt=2), [OUTCOMES[Fate.TRANSIENT]], NOW, Retry(), 0.5, "relay.test").successors
    assert later.delay == pytest.approx(240)
    assert later.record.last_source == ""


def test_a_greylisted_mail_keeps_its_source() -> None:
    grey = replace(OUTCOMES[Fate.TRANSIENT], verdict=GREY)
    (later,) = decide(record(), [grey], NOW, Retry(), 0.5, "relay.test").successors
    assert later.record.last_source == "eu-1"


@pytest.mark.parametrize("fate", [Fate.TRANSIENT, Fate.UNCERTAIN])
def test_a_mail_that_is_too_old_bounces_with_its_last_answer(fate: Fate) -> None:
    old = record(accepted_at=NOW - 432000)
    (report,) = decide(old, [OUTCOMES[fate]], NOW, Retry(), 0.5, "relay.test").successors
    assert report.record.sender == ""
    assert b"Status: 4.4.7" in report.record.message
    assert OUTCOMES[fate].text.encode() in report.record.message


@pytest.mark.parametrize("fate", [Fate.TRANSIENT, Fate.UNCERTAIN])
def test_a_mail_that_its_sender_gives_up_bounces_as_one_that_is_too_old_for_the_pool(fate: Fate) -> None:
    (report,) = decide(record(expires_at=NOW), [OUTCOMES[fate]], NOW, Retry(), 0.5, "relay.test").successors
    assert (report.record.sender, report.record.expires_at) == ("", 0.0)
    assert b"Status: 4.4.7" in report.record.message
    (later,) = decide(record(expires_at=NOW + 600), [OUTCOMES[fate]], NOW, Retry(), 0.5, "relay.test").successors
    assert later.record.expires_at == NOW + 600


def test_a_report_of_delay_says_until_when_it_is_tried() -> None:
    asked = replace(OUTCOMES[Fate.TRANSIENT], recipient=Recipient("t@x.test", "DELAY"))
    waiting = record(accepted_at=NOW - 13000, next_at=NOW - 10, attempt=7, expires_at=NOW + 9000)
    _, report = decide(waiting, [asked], NOW, Retry(), 0.5, "relay.test").successors
    assert f"Will-Retry-Until: {formatdate(NOW + 9000)}\r\n".encode() in report.record.message


def test_a_failing_report_is_dropped_and_said() -> None:
    settlement = decide(record(sender=""), [OUTCOMES[Fate.PERMANENT]], NOW, Retry(), 0.5, "relay.test")
    assert settlement.successors == ()
    assert settlement.unreportable


def test_a_delay_is_reported_when_it_was_asked_for() -> None:
    asked = replace(OUTCOMES[Fate.TRANSIENT], recipient=Recipient("t@x.test", "DELAY"))
    waiting = record(accepted_at=NOW - 13000, next_at=NOW - 10, attempt=7)
    later, report = decide(waiting, [asked], NOW, Retry(), 0.5, "relay.test").successors
    assert later.record.recipients == (asked.recipient,)
    assert b"Action: delayed" in report.record.message


@given(
    fates=st.lists(st.sampled_from(Fate), min_size=1, max_size=30),
    age=st.floats(0, 500_000),
    attempt=st.integers(0, 50),
    random=st.floats(0, 1, exclude_max=True),
)
def test_every_recipient_is_delivered_or_goes_on_or_is_reported(
    fates: list[Fate], age: float, attempt: int, random: float
) -> None:
    outcomes = [replace(OUTCOMES[fate], recipient=Recipient(f"r{n:03}@x.test")) for n, fate in enumerate(fates)]
    subject = record(accepted_at=NOW - age, attempt=attempt, recipients=tuple(each.recipient for each in outcomes))
    successors = decide(subject, outcomes, NOW, Retry(), random, "relay.test").successors
    going_on = [each for successor in successors if successor.record.sender for each in successor.record.recipients]
    reported = b"".join(successor.record.message for successor in successors if not successor.record.sender)
    for outcome in outcomes:
        ways = [
            outcome.fate is Fate.DELIVERED,
            outcome.recipient in going_on,
            f"Final-Recipient: rfc822;{outcome.recipient.address}".encode() in reported,
        ]
        assert sum(ways) == 1


def test_a_sender_that_is_not_the_credentials_is_told_nothing_and_its_mail_goes_on() -> None:
    settlement = decide(record(), list(OUTCOMES.values()), NOW, Retry(), 0.5, "relay.test", owned=False)
    (later,) = settlement.successors
    assert [each.address for each in later.record.recipients] == ["t@x.test", "u@x.test"]
    assert settlement.unreportable
