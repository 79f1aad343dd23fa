"""What becomes of a record: the table of outcomes, and that nobody is forgotten."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.protocol.relay_config import DeliveryRule, Retry
from relayfleet.relay.delivery.judging import UNCERTAIN, UNREACHABLE, ruled, uncertain
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
    Fate.HELD: ruled(Recipient("h@x.test"), DeliveryRule("wait", "Hold", ())),
    Fate.PURGED: ruled(Recipient("w@x.test"), DeliveryRule("away", "Purge", ())),
}


def record(**changes: object) -> Record:
    base = Record("ID", "a@sender.test", tuple(each.recipient for each in OUTCOMES.values()), b"X: y\r\n\r\n", NOW - 60)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_each_fate_goes_where_it_belongs() -> None:
    settlement = decide(record(), list(OUTCOMES.values()), NOW, Retry(), 0.5, "relay.test")
    later, held, report = settlement.successors
    assert [each.address for each in later.record.recipients] == ["t@x.test", "u@x.test"]
    assert (later.record.attempt, later.record.id) == (1, "ID")
    assert later.record.last_answer == "4.4.1 refused"
    assert later.delay >= 600
    assert later.record.next_at == NOW + later.delay
    assert [each.address for each in held.record.recipients] == ["h@x.test"]
    assert (held.record.attempt, held.record.id) == (1, "ID")
    assert held.record.key != later.record.key
    assert held.record.next_at == NOW + held.delay
    assert report.record.sender == ""
    assert report.delay == 0
    assert b"p@x.test" in report.record.message
    assert all(each not in report.record.message for each in (b"t@x.test", b"h@x.test", b"w@x.test"))
    assert (settlement.failed, settlement.deferred) == (1, 2)


@pytest.mark.parametrize(
    ("fates", "earliest"),
    [((Fate.TRANSIENT,), 0.0), ((Fate.TRANSIENT, Fate.UNCERTAIN), NOW + 600), ((Fate.HELD,), 0.0)],
)
def test_what_waits_says_since_when_and_how_long_nobody_may_try_it(fates: tuple[Fate, ...], earliest: float) -> None:
    outcomes = [OUTCOMES[each] for each in fates]
    (waits,) = decide(record(), outcomes, NOW, Retry(), 0.5, "relay.test").successors
    assert (waits.record.deferred_at, waits.record.earliest_at) == (NOW, earliest)
    (next_one,) = decide(waits.record, [OUTCOMES[fates[0]]], NOW + 900, Retry(), 0.5, "relay.test").successors
    assert next_one.record.deferred_at == NOW + 900
    assert next_one.record.earliest_at <= NOW + 900


@pytest.mark.parametrize("attempt", [0, 20])
def test_whom_somebody_else_has_claimed_waits_ten_minutes_whatever_the_schedule_and_nobody_may_try_him_sooner(
    attempt: int,
) -> None:
    """What we sent ourselves keeps its schedule if that is longer, and may not be tried sooner either."""
    before = record(attempt=attempt)
    claimed = [OUTCOMES[Fate.TRANSIENT], uncertain(Recipient("u@x.test"))]
    (waits,) = decide(before, claimed, NOW, Retry(), 0.5, "relay.test").successors
    assert (waits.delay, waits.record.earliest_at) == (600.0, NOW + 600)
    (ours,) = decide(before, [OUTCOMES[Fate.UNCERTAIN]], NOW, Retry(), 0.5, "relay.test").successors
    assert (ours.delay > 600, ours.record.earliest_at) == (attempt > 0, NOW + 600)


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
def test_a_mail_that_is_released_too_old_goes_on_once_since_its_first_attempt_may_be_no_try(fate: Fate) -> None:
    released = record(accepted_at=NOW - 864000, attempt=3, part="h3")
    (later,) = decide(released, [OUTCOMES[fate]], NOW, Retry(), 0.5, "relay.test").successors
    assert later.delay >= Retry().first
    (report,) = decide(later.record, [OUTCOMES[fate]], NOW, Retry(), 0.5, "relay.test").successors
    assert b"Status: 4.4.7" in report.record.message


def test_a_mail_that_is_released_in_time_is_still_tried_right_before_its_end() -> None:
    released = record(accepted_at=NOW - Retry().lifetime + 20, attempt=3, part="h3")
    (later,) = decide(released, [OUTCOMES[Fate.TRANSIENT]], NOW, Retry(), 0.5, "relay.test").successors
    assert later.delay == pytest.approx(20)


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
            outcome.fate in (Fate.DELIVERED, Fate.PURGED),
            outcome.recipient in going_on,
            f"Final-Recipient: rfc822;{outcome.recipient.address}".encode() in reported,
        ]
        assert sum(ways) == 1


def test_a_sender_that_is_not_the_credentials_is_told_nothing_and_its_mail_goes_on() -> None:
    settlement = decide(record(), list(OUTCOMES.values()), NOW, Retry(), 0.5, "relay.test", owned=False)
    later, held = settlement.successors
    assert [each.address for each in later.record.recipients] == ["t@x.test", "u@x.test"]
    assert [each.address for each in held.record.recipients] == ["h@x.test"]
    assert settlement.unreportable


def test_who_is_held_waits_as_he_was_and_his_tries_do_not_go_on() -> None:
    waited = record(attempt=2, last_answer="451 4.7.1 grey", last_source="eu-1", next_at=NOW - 1)
    (held,) = decide(waited, [OUTCOMES[Fate.HELD]], NOW, Retry(), 0.5, "relay.test").successors
    assert (held.record.last_answer, held.record.last_source, held.delay) == ("451 4.7.1 grey", "eu-1", 120.0)
    (again,) = decide(held.record, [OUTCOMES[Fate.HELD]], NOW, Retry(), 0.5, "relay.test").successors
    assert (again.record.attempt, again.delay) == (4, 240.0)
    (later,) = decide(again.record, [OUTCOMES[Fate.TRANSIENT]], NOW, Retry(), 0.5, "relay.test").successors
    assert later.record.attempt == 5
    assert later.delay == pytest.approx(240), "as after the third attempt"


def test_a_mail_that_is_too_old_for_the_pool_and_for_its_sender_stays_held() -> None:
    old = record(accepted_at=NOW - 500_000, expires_at=NOW - 1)
    (held,) = decide(old, [OUTCOMES[Fate.HELD]], NOW, Retry(), 0.5, "relay.test").successors
    assert held.record.recipients == (OUTCOMES[Fate.HELD].recipient,)


def test_the_delay_of_a_held_mail_is_not_reported() -> None:
    asked = replace(OUTCOMES[Fate.HELD], recipient=Recipient("h@x.test", "DELAY"))
    waiting = record(accepted_at=NOW - 14395, next_at=NOW - 10, attempt=7)
    assert len(decide(waiting, [asked], NOW, Retry(), 0.5, "relay.test").successors) == 1


def test_two_that_part_are_named_as_if_they_had_always_been_apart() -> None:
    """Should the record be settled twice, each copy is known for what it is, whoever else was in it."""
    one, other = OUTCOMES[Fate.TRANSIENT], OUTCOMES[Fate.HELD]
    both = [each.record.key for each in decide(record(), [one, other], NOW, Retry(), 0.5, "r").successors]
    apart = [decide(record(), [each], NOW, Retry(), 0.5, "r").successors[0].record.key for each in (one, other)]
    assert both == apart
