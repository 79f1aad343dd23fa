"""When a relay takes a dependency for dead, and when for alive again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.protocol.telemetry import DependencyState
from relayfleet.relay.dependencies.outcome import ANSWERED, Kind, Outcome
from relayfleet.relay.dependencies.verdict import BACK, FAILURES, HURRY, RETURN, Standing, Track, Verdict, fold, judge

FAILED = Outcome(Kind.FAILED, "does not answer")
TIMED_OUT = Outcome(Kind.TIMED_OUT_CONNECTING, "took more than 0.5 s to connect")
NOT_ASKED = Outcome(Kind.NOT_ASKED, "its credentials are not mounted in this relay yet")
OUTCOMES = st.lists(st.sampled_from([ANSWERED, FAILED, TIMED_OUT, NOT_ASKED]), max_size=30)
WORD = {"a": ANSWERED, "f": FAILED, "t": TIMED_OUT, "n": NOT_ASKED}


def after(word: str, start: Track | None = None, at: int = 0) -> Track:
    """A target after outcomes, one a second from the second `at` on: a(nswered), f(ailed), t(imed out connecting), n(ot asked)."""
    track = start or Track()
    for second, letter in enumerate(word, at):
        track = fold(track, WORD[letter], float(second))
    return track


def state(first: str, backup: str | None = None) -> DependencyState:
    return judge(after(first), None if backup is None else after(backup)).state


@pytest.mark.parametrize(
    ("word", "standing"),
    [
        ("", Standing.UNKNOWN),
        ("a", Standing.UP),
        ("ff", Standing.UNKNOWN),
        ("fff", Standing.DOWN),
        ("aff", Standing.UP),
        ("affaff", Standing.UP),
        ("afff", Standing.DOWN),
        ("afffaa", Standing.DOWN),
        ("afffaafaa", Standing.DOWN),
        ("afffaaa", Standing.UP),
        ("at", Standing.DOUBTED),
        ("tt", Standing.UNKNOWN),
        ("atff", Standing.DOWN),
        ("ataa", Standing.DOUBTED),
        ("ataaa", Standing.UP),
        ("an", Standing.UNKNOWN),
        ("nff", Standing.UNKNOWN),
        ("afffn", Standing.UNKNOWN),
    ],
)
def test_a_target_stands_as_its_last_outcomes_in_a_row_say(word: str, standing: Standing) -> None:
    assert after(word).standing is standing


@given(OUTCOMES)
def test_nothing_is_down_without_failures_in_a_row_nor_up_again_without_answers_in_a_row(seen: list[Outcome]) -> None:
    track = Track()
    for second, outcome in enumerate(seen):
        before, track = track, fold(track, outcome, float(second))
        in_a_row = [each.kind is Kind.ANSWERED for each in seen[: second + 1]][::-1]
        if before.standing is not Standing.DOWN and track.standing is Standing.DOWN:
            assert not any(in_a_row[:FAILURES])
            assert len(in_a_row) >= FAILURES
        if before.standing in (Standing.DOWN, Standing.DOUBTED) and track.standing is Standing.UP:
            assert all(in_a_row[:BACK])


@given(OUTCOMES, st.sampled_from([FAILED, TIMED_OUT]))
def test_whatever_was_before_failures_in_a_row_are_the_end_and_answers_in_a_row_are_the_return(
    seen: list[Outcome], failure: Outcome
) -> None:
    track = Track()
    for second, outcome in enumerate([*seen, *[failure] * FAILURES]):
        track = fold(track, outcome, float(second))
    assert track.standing is Standing.DOWN
    for second in range(BACK):
        track = fold(track, ANSWERED, 100.0 + second)
    assert (track.standing, track.since) == (Standing.UP, 100.0)


@given(OUTCOMES)
def test_failures_are_counted_at_once_and_a_settled_target_is_left_in_peace(seen: list[Outcome]) -> None:
    track = Track()
    for second, outcome in enumerate(seen):
        track = fold(track, outcome, float(second))
    delay = track.delay(2.0)
    assert delay in (HURRY, RETURN, 2.0)
    assert (delay == HURRY) == (track.run < 0 and track.standing is not Standing.DOWN)
    assert track.delay(0.05) == 0.05


def test_the_verdict_says_since_when_the_first_of_the_failures_was_and_why() -> None:
    assert judge(after("aafff")) == Verdict(DependencyState.DOWN, 2.0, "does not answer")
    assert judge(after("aafffff")).since == 2.0


@pytest.mark.parametrize(
    ("first", "backup", "expected"),
    [
        ("a", "fff", DependencyState.ANSWERS),
        ("at", "a", DependencyState.ON_BACKUP),
        ("af", "a", DependencyState.ANSWERS),
        ("aff", "a", DependencyState.ANSWERS),
        ("afff", "a", DependencyState.ON_BACKUP),
        ("at", "fff", DependencyState.ANSWERS),
        ("at", "", DependencyState.ANSWERS),
        ("afff", "at", DependencyState.ON_BACKUP),
        ("afff", "fff", DependencyState.DOWN),
        ("afff", "", DependencyState.UNKNOWN),
        ("afff", "n", DependencyState.UNKNOWN),
        ("", "a", DependencyState.UNKNOWN),
        ("fff", "a", DependencyState.ON_BACKUP),
        ("afffaa", "a", DependencyState.ON_BACKUP),
        ("afffaaa", "a", DependencyState.ANSWERS),
        ("afffaa", "afff", DependencyState.DOWN),
        ("n", "a", DependencyState.UNKNOWN),
    ],
)
def test_the_backup_counts_from_a_doubt_on_until_the_first_answers_again(
    first: str, backup: str, expected: DependencyState
) -> None:
    assert state(first, backup) is expected


def test_both_are_needed_for_an_outage_and_both_are_named() -> None:
    verdict = judge(after("afff"), after("aattt"))
    assert verdict == Verdict(DependencyState.DOWN, 2.0, "does not answer; backup: took more than 0.5 s to connect")


@given(st.text("aftn", max_size=8), st.text("aftn", max_size=8))
def test_a_backup_never_makes_it_worse(first: str, backup: str) -> None:
    alone, both = state(first), state(first, backup)
    if both is DependencyState.DOWN:
        assert alone is DependencyState.DOWN
    if alone is DependencyState.ANSWERS:
        assert both in (DependencyState.ANSWERS, DependencyState.ON_BACKUP)


def test_one_probe_of_four_that_is_lost_is_no_outage() -> None:
    """Of all ways in which every fourth probe can be lost, none is one."""
    for lost in itertools.product(range(4), repeat=3):
        word = "".join("".join("f" if n == each else "a" for n in range(4)) for each in lost)
        assert all(state(word[:n]) is not DependencyState.DOWN for n in range(len(word) + 1)), word
