"""The sum of what relays accepted, whoever tells it, and whatever the last leader knew."""

from __future__ import annotations

from relayfleet.decide.usage import Count, Tab


def tab(*words: tuple[str, Count]) -> Tab:
    found = Tab()
    for relay, count in words:
        found.take(relay, count)
    return found


def test_what_relays_accept_adds_up_and_is_not_counted_again_when_it_is_told_again() -> None:
    words = ("a", Count("1", 3)), ("b", Count("1", 4)), ("a", Count("1", 5)), ("a", Count("1", 5))
    assert tab(*words).total == 9


def test_a_relay_that_starts_anew_goes_on_from_what_it_had() -> None:
    assert tab(("a", Count("1", 3)), ("a", Count("2", 1)), ("a", Count("2", 2))).total == 5


def test_a_relay_that_forgot_a_credential_goes_on_from_what_it_had() -> None:
    assert tab(("a", Count("1", 3)), ("a", Count("1", 1, pool=3, counted=3)), ("a", Count("1", 2))).total == 5


def test_relays_bring_along_what_the_last_leader_knew_once_and_what_each_accepted_since() -> None:
    words = ("a", Count("1", 5, pool=10, counted=4)), ("b", Count("1", 2, pool=9, counted=2)), ("c", Count("1", 7))
    assert tab(*words).total == 10 + 1 + 0 + 7


def test_what_a_relay_is_told_by_this_leader_it_does_not_bring_along() -> None:
    assert tab(("a", Count("1", 5)), ("b", Count("1", 5)), ("a", Count("1", 6, pool=10, counted=5))).total == 11


def test_a_relay_is_told_of_itself_what_it_said_in_this_life() -> None:
    found = tab(("a", Count("1", 5)))
    assert (found.own("a", "1"), found.own("a", "2"), found.own("b", "1")) == (5, None, None)


def test_a_relay_that_is_gone_for_good_stays_in_the_sum_and_is_known_no_more() -> None:
    found = tab(("a", Count("1", 5)), ("b", Count("1", 2)))
    found.leave("a")
    assert (found.total, found.own("a", "1"), found.own("b", "1")) == (7, None, 2)
