"""The window: bounded, yields to delay once a round, grows again, and never closes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.scavenger.delays import FILTER
from relayfleet.relay.scavenger.window import LEAST, LEAST_SHARE, MOST, PERIOD, REST, TARGET, Way, Window

QUICK, SLOW = 0.005, 0.005 + 2 * TARGET
BUSY = PERIOD / 2
"""A time that is no rest."""


def confirm(window: Window, seconds: float, now: float, times: int = 1) -> float:
    """So many confirms, one after the other; returns when the last came."""
    for _ in range(times):
        now += seconds
        window.confirmed(Way.MAIL, now - seconds, now)
    return now


def opened() -> tuple[Window, float]:
    window = Window()
    return window, confirm(window, QUICK, 0.0, MOST)


def test_it_begins_with_few_and_opens_by_one_a_confirm_while_it_was_never_cut() -> None:
    window = Window()
    assert window.places(BUSY) == LEAST
    confirm(window, QUICK, 0.0, 3)
    assert window.places(BUSY) == LEAST + 3
    confirm(window, QUICK, 1.0, 2 * MOST)
    assert window.places(BUSY) == MOST


def test_a_queue_above_the_target_halves_it_and_one_within_does_not() -> None:
    window, now = opened()
    now = confirm(window, QUICK + TARGET * 0.9, now, 3 * FILTER)
    assert window.places(BUSY) == MOST
    confirm(window, SLOW, now, FILTER)
    assert window.places(BUSY) == MOST // 2


def test_those_that_were_under_way_at_a_cut_do_not_cut_again() -> None:
    window, began = opened()
    for number in range(50):
        window.confirmed(Way.MAIL, began, began + SLOW + number / 1000)
    assert window.places(BUSY) == MOST // 2
    window.failed(began, began + 9.0)
    assert window.places(BUSY) == MOST // 2
    window.failed(window.cut_at + 0.1, began + 10.0)
    assert window.places(BUSY) == MOST // 4


def test_however_slow_it_is_some_places_and_hands_stay() -> None:
    window, now = opened()
    now = confirm(window, 30.0, now, 100)
    for number in range(20):
        window.failed(now + number, now + number + 0.5)
    assert window.places(BUSY) == LEAST
    assert window.share == LEAST_SHARE > 0


def test_after_a_cut_it_grows_by_one_a_windowful_and_opens_to_the_end() -> None:
    window, now = opened()
    now = confirm(window, SLOW, now, FILTER)
    size = window.size
    now = confirm(window, QUICK, now, int(size))
    assert size + 0.9 < window.size <= size + 1
    confirm(window, QUICK, now, MOST * MOST)
    assert window.places(BUSY) == MOST


def test_claims_have_a_base_of_their_own() -> None:
    window, now = opened()
    for number in range(2 * FILTER):
        window.confirmed(Way.CLAIM, now + number - SLOW, now + number)
    assert window.places(BUSY) == MOST, "a claim takes longer than mail, always"
    for number in range(FILTER):
        window.confirmed(Way.CLAIM, now + 20 + number - 2 * SLOW, now + 20 + number)
    assert window.places(BUSY) == MOST // 2


def test_a_large_mail_may_take_as_long_as_its_size_does() -> None:
    window, now = opened()
    for number in range(2 * FILTER):
        window.confirmed(Way.MAIL, now + number - 1.0, now + number, allowed=1.0)
    assert window.places(BUSY) == MOST


def test_places_grow_while_half_of_them_are_used() -> None:
    window = Window()
    for in_flight, places in ((1, 3), (1, 3), (2, 4), (2, 5), (2, 5), (64, 6)):
        window.confirmed(Way.MAIL, 0.0, QUICK, in_flight=in_flight)
        assert window.places(BUSY) == places


def test_what_delivery_stores_moves_the_hands_and_its_delay_closes_both() -> None:
    window, now = opened()
    for _ in range(MOST):
        window.confirmed(Way.PUT_OFF, now - QUICK, now)
    assert (window.size, window.hands) == (MOST, MOST)
    for number in range(FILTER):
        window.confirmed(Way.PUT_OFF, now + number - SLOW, now + number)
    assert (window.size, window.hands) == (MOST // 2, MOST // 2)


def test_at_each_full_minute_it_rests_and_the_hands_do_not() -> None:
    window, _ = opened()
    assert window.places(7 * PERIOD) == window.places(7 * PERIOD + REST * 0.99) == 1
    assert window.places(7 * PERIOD + REST) == window.places(8 * PERIOD - 0.01) == MOST
    for _ in range(MOST):
        window.confirmed(Way.CLAIM, 0.0, QUICK)
    assert (window.places(7 * PERIOD), window.share) == (1, 1.0)


@given(st.lists(st.tuples(st.sampled_from((*Way, "lost")), st.floats(0.0, 20.0), st.floats(0.0, 100.0)), max_size=200))
def test_whatever_comes_it_stays_within_its_bounds(seen: list[tuple[Way | str, float, float]]) -> None:
    window, now = Window(), 0.0
    for what, seconds, pause in seen:
        now += pause
        if isinstance(what, Way):
            window.confirmed(what, now - seconds, now)
        else:
            window.failed(now - seconds, now)
        assert LEAST <= window.size <= MOST
        assert LEAST_SHARE <= window.share <= 1.0
        assert 1 <= window.places(now) <= MOST
