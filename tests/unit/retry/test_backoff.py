"""When a deferred mail comes back, and when it does no more."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.protocol.relay_config import Retry
from relayfleet.relay.retry.backoff import HOLD_SECONDS, JITTER, expired, hold_delay, next_delay, shortened
from relayfleet.relay.spool.rabbitmq.topology import LADDER

DEFAULT = Retry()

WAITS = {
    "the first wait": (DEFAULT, 0, 60.0),
    "each wait is twice the last": (DEFAULT, 3, 480.0),
    "no wait is longer than the longest": (DEFAULT, 30, 14400.0),
    "a thousandth attempt overflows nothing": (DEFAULT, 1000, 14400.0),
    "a factor of one hundred percent keeps the wait": (Retry(factor_percent=100), 50, 60.0),
    "a factor of one and a half": (Retry(factor_percent=150), 2, 135.0),
}


@pytest.mark.parametrize("case", WAITS)
def test_waits_without_jitter(case: str) -> None:
    retry, attempt, expected = WAITS[case]
    assert next_delay(retry, attempt, 0.5, age=0.0) == pytest.approx(expected)


def test_what_is_held_is_looked_at_again_soon_at_first_and_later_every_sixteen_minutes() -> None:
    assert [hold_delay(each) for each in range(5)] == [120.0, 240.0, 480.0, 960.0, 960.0]
    assert all(each in LADDER for each in HOLD_SECONDS), "the queue has these waits and rounds no other up"


@given(
    attempt=st.integers(0, 10_000),
    random=st.floats(0, 1, exclude_max=True),
    first=st.floats(1, 3600),
    factor=st.integers(100, 1000),
    age=st.floats(0, 431_000),
)
def test_a_wait_stays_in_its_bounds(attempt: int, random: float, first: float, factor: int, age: float) -> None:
    retry = Retry(first=first, factor_percent=factor)
    delay = next_delay(retry, attempt, random, age)
    assert 1.0 <= delay <= retry.longest * (1 + JITTER)
    assert age + delay <= retry.lifetime + 1.0


@given(random=st.floats(0, 1, exclude_max=True), attempt=st.integers(0, 20))
def test_jitter_is_fifteen_percent_at_most(random: float, attempt: int) -> None:
    middle = next_delay(DEFAULT, attempt, 0.5, 0.0)
    assert abs(next_delay(DEFAULT, attempt, random, 0.0) - middle) <= middle * JITTER * 1.0001


def test_the_default_schedule_tries_for_five_days_and_once_more_at_the_very_end() -> None:
    age, attempt, ages = 0.0, 0, []
    while not expired(DEFAULT, age):
        age += next_delay(DEFAULT, attempt, 0.5, age)
        attempt += 1
        ages.append(age)
    assert ages[-1] == pytest.approx(5 * 86400)
    assert sum(each <= 3600 for each in ages) >= 2
    assert max(later - earlier for earlier, later in pairwise(ages)) <= 4 * 3600 + 1
    general = [later - earlier for earlier, later in pairwise(ages[:-1]) if earlier >= 3600]
    assert min(general) >= 30 * 60


def test_a_clock_that_went_back_makes_no_negative_wait() -> None:
    assert next_delay(DEFAULT, 0, 0.5, age=-50.0) > 0


@pytest.mark.parametrize(
    ("expires_at", "lifetime"),
    [(0.0, 432000.0), (1060.0, 60.0), (1000.0, 0.0), (1.0, 0.0), (433000.0, 432000.0), (1e12, 432000.0)],
)
def test_a_life_is_made_shorter_and_never_longer(expires_at: float, lifetime: float) -> None:
    assert shortened(DEFAULT, 1000.0, expires_at) == Retry(lifetime=lifetime)
