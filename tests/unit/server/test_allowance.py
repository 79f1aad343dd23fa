"""What a credential may still submit, at any time and in any order of events."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayfleet.protocol.relay_config import SubmissionLimit
from relayfleet.relay.server.allowance import MINUTE, OWED, Allowance, Over

MOST = 100
"""Recipients of a mail."""


def allowance(per_minute: int | None = None, per_day: int | None = None, now: float = 0.0, day: int = 1) -> Allowance:
    return Allowance(SubmissionLimit("ann", per_minute, per_day), now, day)


def taken(each: Allowance, recipients: int, now: float = 0.0, day: int = 1) -> Over | None:
    """A mail that is accepted at once, if no limit is in the way."""
    over = each.hold(recipients, now, day)
    if over is None:
        each.keep(recipients, day)
    return over


@dataclass
class Mail:
    recipients: int
    wait: float
    accepted: bool = True


MAILS = st.lists(st.builds(Mail, st.integers(1, MOST), st.floats(0, 90), st.booleans()), max_size=60)


@settings(deadline=None)
@given(st.integers(1, 500), MAILS)
def test_within_any_time_no_more_than_the_rate_allows_and_one_mail_that_is_owed(rate: int, mails: list[Mail]) -> None:
    each, now = allowance(per_minute=rate), 0.0
    accepted: list[tuple[float, int]] = []
    for mail in mails:
        now += mail.wait
        if each.hold(mail.recipients, now, 1) is None:
            if mail.accepted:
                each.keep(mail.recipients, 1)
                accepted.append((now, mail.recipients))
            else:
                each.give_back(mail.recipients, now)
    for first, (begins, _) in enumerate(accepted):
        total = 0
        for ends, recipients in accepted[first:]:
            total += recipients
            assert total <= rate + (ends - begins) * rate / MINUTE + MOST - 1 + 1e-6


@settings(deadline=None)
@given(st.integers(1, 500), MAILS)
def test_no_day_has_more_than_its_recipients_and_none_is_withheld(cap: int, mails: list[Mail]) -> None:
    each, accepted = allowance(per_day=cap), dict.fromkeys((1, 2), 0)
    for number, mail in enumerate(mails):
        day = 1 if number < len(mails) / 2 else 2
        over = each.hold(mail.recipients, 0.0, day)
        assert over is (Over.CAP if accepted[day] + mail.recipients > cap else None)
        if over is None and mail.accepted:
            each.keep(mail.recipients, day)
            accepted[day] += mail.recipients
        elif over is None:
            each.give_back(mail.recipients, 0.0)
        assert each.used == accepted[day]


@dataclass
class Held:
    """A model of what is under way, to be ended in any order."""

    mails: list[int] = field(default_factory=list)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.lists(st.tuples(st.integers(0, 2), st.integers(1, MOST))))
def test_mails_that_are_under_way_count_until_they_are_refused(
    rate: int, cap: int, steps: list[tuple[int, int]]
) -> None:
    each, held, accepted, level = allowance(rate, cap), Held(), 0, rate
    for kind, number in steps:
        if kind == 0 or not held.mails:
            over = each.hold(number, 0.0, 1)
            if accepted + number > cap:
                assert over is Over.CAP
            elif accepted + sum(held.mails) + number > cap:
                assert over is Over.PENDING, "what is under way may yet be refused"
            else:
                assert over is (Over.RATE if level < 1 else None)
            if over is None:
                held.mails.append(number)
                level -= number
        else:
            recipients = held.mails.pop(number % len(held.mails))
            if kind == 1:
                each.keep(recipients, 1)
                accepted += recipients
            else:
                each.give_back(recipients, 0.0)
                level += recipients
    assert each.used == accepted


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 10_000))
def test_each_mail_has_its_turn_however_many_recipients_it_has(rate: int, recipients: int) -> None:
    each, now = allowance(per_minute=rate), 0.0
    assert taken(each, recipients, now) is None
    owed = max(0, recipients + 1 - rate) * MINUTE / rate
    assert taken(each, recipients, now + owed + 1e-3) is None


def test_after_a_pause_a_minutes_worth_may_come_at_once_and_no_more() -> None:
    each = allowance(per_minute=3)
    assert [taken(each, 1, 0.0) for _ in range(4)] == [None, None, None, Over.RATE]
    assert [taken(each, 1, 20.1) for _ in range(2)] == [None, Over.RATE]
    assert [taken(each, 1, 10_000.0) for _ in range(4)] == [None, None, None, Over.RATE]


def test_the_day_goes_before_the_minute_since_nobody_need_try_again() -> None:
    each = allowance(1, 2)
    assert [taken(each, 1), taken(each, 1), taken(each, 2)] == [None, Over.RATE, Over.CAP]


def test_a_mail_to_more_than_a_day_allows_is_refused_and_smaller_ones_go_on() -> None:
    each = allowance(per_day=10)
    assert [taken(each, 11), taken(each, 9), taken(each, 2), taken(each, 1)] == [Over.CAP, None, Over.CAP, None]


def test_a_new_day_begins_at_nothing_and_what_is_under_way_counts_for_it() -> None:
    each = allowance(per_day=10)
    assert taken(each, 8) is None
    assert each.hold(2, 0.0, 1) is None
    assert each.over(9, 0.0, 2) is Over.PENDING
    each.keep(2, 2)
    assert (each.used, each.over(8, 0.0, 2), each.over(9, 0.0, 2)) == (2, None, Over.CAP)


def test_what_others_took_counts_for_the_day_and_for_the_minute() -> None:
    each = allowance(60, 100)
    taken(each, 5)
    each.hear(1, 5, 5, 0.0)
    assert each.used == 5
    each.hear(1, 64, 5, 1.0)
    assert (each.others, each.used) == (59, 64)
    assert each.over(1, 1.0, 1) is Over.RATE
    assert each.over(1, 6.1, 1) is None
    each.hear(1, 100, 5, 6.1)
    assert each.over(1, 6.1, 1) is Over.CAP


def test_a_relay_that_comes_to_a_day_hears_what_was_before_and_starts_with_a_whole_minute() -> None:
    each = allowance(60, 10_000)
    each.hear(1, 9_000, 0, 0.0)
    assert (each.used, taken(each, 60)) == (9_000, None)


def test_others_leave_a_credential_no_more_than_some_minutes_in_debt() -> None:
    each = allowance(per_minute=60)
    each.hear(1, 0, 0, 0.0)
    each.hear(1, 5_000, 0, 0.0)
    assert each.over(1, OWED * MINUTE + 0.9, 1) is Over.RATE
    assert each.over(1, OWED * MINUTE + 1.1, 1) is None


def test_what_others_took_in_a_long_time_within_the_rate_is_not_owed() -> None:
    each = allowance(per_minute=60)
    each.hear(1, 0, 0, 0.0)
    each.hear(1, 3_600, 0, 3_600.0)
    assert each.over(1, 3_600.0, 1) is None
    assert taken(each, 60, 3_600.0) is None
    assert each.over(1, 3_600.0, 1) is Over.RATE
    each.hear(1, 3_660, 0, 3_660.0)
    assert each.over(1, 3_660.9, 1) is Over.RATE, "what ran over once is not there twice"


def test_a_word_on_another_day_says_nothing() -> None:
    each = allowance(per_day=10)
    each.hear(0, 10, 0, 0.0)
    each.hear(2, 10, 0, 0.0)
    assert each.over(10, 0.0, 1) is None


@pytest.mark.parametrize(
    ("after", "over"),
    [
        ((3, None), None),
        ((60, 200), None),
        ((None, 5), Over.CAP),
        ((None, 6), None),
        ((1, 6), None),
        ((60, 5), Over.CAP),
    ],
)
def test_other_limits_count_what_was_taken(after: tuple[int | None, int | None], over: Over | None) -> None:
    each = allowance(60, 100)
    taken(each, 5)
    each.configure(SubmissionLimit("ann", *after), 0.0)
    assert each.over(1, 0.0, 1) is over


def test_a_lower_rate_leaves_a_minutes_worth_of_itself_at_most_and_a_higher_one_fills_from_what_was_left() -> None:
    each = allowance(per_minute=600)
    each.configure(SubmissionLimit("ann", 2), 0.0)
    assert [taken(each, 1) for _ in range(3)] == [None, None, Over.RATE]
    each.configure(SubmissionLimit("ann", 60), 0.0)
    assert [each.over(1, 0.9, 1), each.over(1, 1.1, 1)] == [Over.RATE, None]
    each.configure(SubmissionLimit("ann", None, 10), 1.1)
    assert each.over(1, 1.1, 1) is None


def test_who_owes_much_of_a_high_rate_owes_some_minutes_of_a_lower_one_and_a_reload_forgives_nothing() -> None:
    each = allowance(per_minute=6000)
    each.hear(1, 0, 0, 0.0)
    each.hear(1, 50_000, 0, 0.0)
    each.configure(SubmissionLimit("ann", 6), 0.0)
    assert each.over(1, OWED * MINUTE, 1) is Over.RATE
    assert each.over(1, OWED * MINUTE + 11, 1) is None
    assert taken(each, 100, OWED * MINUTE + 11) is None
    each.configure(SubmissionLimit("ann", 6, 10**6), OWED * MINUTE + 11)
    assert each.over(1, 2 * OWED * MINUTE + 60, 1) is Over.RATE


def test_what_ran_over_while_nothing_changed_is_not_taken_off_when_a_configuration_is_read_again() -> None:
    each = allowance(per_minute=60)
    each.hear(1, 0, 0, 0.0)
    each.configure(SubmissionLimit("ann", 60), 3_600.0)
    each.hear(1, 3_600, 0, 3_600.0)
    assert each.over(1, 3_600.0, 1) is None


def test_of_what_others_took_just_now_only_that_is_taken_off_which_ran_over_just_now() -> None:
    each = allowance(per_minute=60)
    each.hear(1, 0, 0, 0.0)
    each.hear(1, 60, 0, 3_600.0, within=10.0)
    assert [each.over(1, now, 1) for now in (3_600.0, 3_600.1)] == [None, None]
    assert taken(each, 10, 3_600.0) is None
    assert each.over(1, 3_600.5, 1) is Over.RATE
