"""Bounds over all sessions."""

from __future__ import annotations

import ipaddress

import pytest

from relayfleet.protocol.relay_config import Limits
from relayfleet.relay.server import replies
from relayfleet.relay.server.access import Access, parse_peer
from relayfleet.relay.server.limits import Admission, FailureWindow, LogGate, MemoryBudget, Pace

A, B = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("192.0.2.2")


def test_sessions_are_counted_in_total_and_by_address() -> None:
    admission, limits = Admission(), Limits(sessions=3, sessions_per_address=2)
    assert [admission.enter(each, limits) for each in (A, A, A, B, B)] == [
        None,
        None,
        replies.TOO_MANY_FROM_ADDRESS,
        None,
        replies.TOO_MANY_SESSIONS,
    ]
    admission.leave(A)
    assert admission.enter(B, limits) is None
    for each in (A, B, B):
        admission.leave(each)
    assert admission.total == 0


def test_memory_is_given_out_only_while_it_lasts() -> None:
    budget = MemoryBudget(100)
    assert budget.take(60)
    assert not budget.take(41)
    assert budget.take(40)
    budget.give(60)
    assert budget.has_room(60)
    assert budget.used == 40


def test_a_pace_is_kept_within_any_second() -> None:
    times = (100.0, 100.9, 100.95, 101.0, 101.5, 101.9)
    pace = Pace(2, 1.0, iter(times).__next__)
    given = [pace.allows() for _ in times]
    assert given == [True, True, False, True, False, True]


def test_failures_block_for_the_rest_of_their_window() -> None:
    window = FailureWindow(limit=2, seconds=60)
    window.add("a", 0)
    assert not window.blocked("a", 1)
    window.add("a", 30)
    assert window.blocked("a", 31)
    assert not window.blocked("b", 31)
    assert not window.blocked("a", 60)
    window.add("a", 61)
    assert not window.blocked("a", 62)


def test_failures_are_remembered_for_a_bounded_number_of_addresses() -> None:
    window = FailureWindow(limit=1, seconds=60, keys=10)
    for number in range(1000):
        window.add(str(number), 0)
    assert [window.blocked(str(number), 1) for number in (0, 989, 990, 999)] == [False, False, True, True]


def test_log_lines_of_a_kind_are_held_back_and_counted() -> None:
    gate = LogGate(seconds=1)
    assert [gate.open("a", 0), gate.open("a", 0.5), gate.open("b", 0.6), gate.open("a", 0.9)] == [0, None, 0, None]
    assert gate.open("a", 1) == 2
    assert gate.open("a", 2) == 0


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("192.0.2.77", True),
        ("::ffff:192.0.2.77", True),
        ("192.0.3.1", False),
        ("2001:db8:1::5", True),
        ("2001:db8:2::5", False),
        ("fe80::1%eth0", False),
    ],
)
def test_only_allowed_networks_may_relay_without_auth(peer: str, allowed: bool) -> None:
    access = Access(["192.0.2.0/24", "2001:db8:1::/48"], [])
    assert access.may_relay(parse_peer(peer)) is allowed


def test_nobody_is_allowed_by_default_nor_a_client_without_an_address() -> None:
    assert not Access([], []).may_relay(A)
    assert not Access(["0.0.0.0/0", "::/0"], []).may_relay(None)


def test_a_text_that_is_no_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Access(["nonsense"], [])
