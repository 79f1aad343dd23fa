"""Measured silences: what is usual counts little, what was never seen counts in full, and memory is bounded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.decide.health.policy import YEAR, Policy
from relayfleet.decide.health.state import Sightings
from relayfleet.decide.health.tail import Tail

LOSS = 0.01


def fed(answers: int, latency: float, still_open: int = 0) -> Tail:
    tail = Tail()
    for _ in range(answers):
        tail = tail.seen(latency, 0, still_open)
    return tail


def test_a_relay_that_usually_takes_long_is_not_suspected_for_it() -> None:
    assert fed(2000, 0.08).unanswered(0.05, LOSS) > 0.9
    assert fed(2000, 0.002).unanswered(0.05, LOSS) < 0.01


def test_lost_probes_raise_the_share_that_stays_unanswered() -> None:
    tail = Tail()
    for number in range(2000):
        tail = tail.seen(0.002, number % 10 == 0, 0)
    assert tail.unanswered(1.0, LOSS) == pytest.approx(0.1, abs=0.02)


def test_before_anything_is_measured_losses_are_independent() -> None:
    assert Tail().together(3, LOSS) == pytest.approx(LOSS**3)


def test_stalls_that_were_seen_make_many_open_probes_likelier() -> None:
    stalled = fed(10000, 0.002).seen(1.0, 0, 12)
    assert -math.log(stalled.together(4, LOSS)) < 9.5
    assert -math.log(fed(10000, 0.002).together(4, LOSS)) > 20


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 5), st.integers(0, 30)), max_size=30),
    st.floats(0, 5),
    st.floats(0, 5),
)
def test_a_longer_silence_is_never_likelier(seen: list[tuple[float, int, int]], one: float, other: float) -> None:
    tail = Tail()
    for each in seen:
        tail = tail.seen(*each)
    short, long = sorted((one, other))
    assert 0 < tail.unanswered(long, LOSS) <= tail.unanswered(short, LOSS) <= 1
    assert tail.together(5, LOSS) <= tail.together(4, LOSS) <= 1


def test_what_is_long_ago_fades() -> None:
    full = Tail(answers=2.0**21, probes=2.0**21)
    assert full.seen(0.002, 0, 0).answers == 2.0**20 + 1


def test_thresholds_follow_from_the_false_alarms_allowed() -> None:
    policy = Policy(interval=0.25, soft_alarms_per_year=12, hard_alarms_per_year=0.01)
    assert policy.soft(1) == pytest.approx(math.log(4 * YEAR / 12)) == pytest.approx(16.2, abs=0.05)
    assert policy.hard(1) == pytest.approx(23.3, abs=0.05)
    assert policy.soft(2) == pytest.approx(policy.soft(1) + math.log(2))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 100)), max_size=30))
def test_sightings_know_the_latest_of_all_others(seen: list[tuple[str, float]]) -> None:
    sightings = Sightings()
    for relay, at in seen:
        sightings = sightings.seen(relay, at)
    for relay in "abc":
        assert sightings.besides(relay)[1] == max((at for who, at in seen if who != relay), default=-math.inf)
