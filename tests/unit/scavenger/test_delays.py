"""Delays: the queue is what a confirm took longer than the shortest of recent minutes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.scavenger.delays import FILTER, HISTORY, Delays


def see(delays: Delays, seconds: float, at: float, times: int = FILTER) -> float:
    return [delays.saw(seconds, at) for _ in range(times)][-1]


def test_nothing_is_known_and_the_first_confirm_has_no_queue() -> None:
    delays = Delays()
    assert delays.base == 0.0
    assert delays.saw(0.5, 10.0) == 0.0
    assert delays.base == 0.5


def test_one_slow_confirm_is_no_queue_but_a_few_in_a_row_are() -> None:
    delays = Delays()
    see(delays, 0.01, 0.0)
    assert see(delays, 0.2, 1.0, FILTER - 1) == 0.0
    assert round(delays.saw(0.2, 1.0), 3) == 0.19
    assert delays.saw(0.012, 1.0) < 0.01, "and one that is quick ends it"


def test_brokers_that_have_become_slower_are_believed_when_the_last_quick_confirm_is_forgotten() -> None:
    delays = Delays()
    see(delays, 0.01, 0.0)
    for minute in range(1, HISTORY):
        assert see(delays, 0.05, minute * 60.0) > 0.03
    assert see(delays, 0.05, HISTORY * 60.0) == 0.0


def test_after_a_long_silence_the_base_is_learnt_anew() -> None:
    delays = Delays()
    see(delays, 0.01, 0.0)
    assert see(delays, 0.3, 86_400.0) == 0.0
    assert len(delays.minutes) == 1


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 300.0)), min_size=1, max_size=50))
def test_the_queue_is_never_negative_and_never_longer_than_the_confirm(seen: list[tuple[float, float]]) -> None:
    delays, now = Delays(), 0.0
    for seconds, pause in seen:
        now += pause
        assert 0.0 <= delays.saw(seconds, now) <= seconds
        assert len(delays.minutes) <= HISTORY
