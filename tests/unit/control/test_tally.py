"""Counting outcomes: bounded, the worst first, and fair when it was we who were away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayfleet.protocol.telemetry import MOST_ROWS, Attempts, Confirms, Lookups
from relayfleet.relay.control import tally as module
from relayfleet.relay.control.tally import Ending, Tally


def test_everything_counted_is_told_once() -> None:
    tally = Tally()
    for ending, times in zip(Ending, (4, 3, 2, 1), strict=True):
        for _ in range(times):
            tally.attempt("ip-1", "example.org", ending)
    tally.confirm("broker:5671", True)
    tally.confirm("broker:5671", False)
    tally.lookup("10.0.0.10:53", True)
    assert tally.take() == (
        (Attempts("ip-1", "example.org", 4, 3, 2, 1),),
        (Confirms("broker:5671", 1, 1),),
        (Lookups("Resolver", "10.0.0.10:53", 1, 0),),
    )
    assert tally.take() == ((), (), ())


@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from(Ending)), max_size=600))
def test_of_many_providers_those_with_the_most_failures_are_told(events: list[tuple[int, Ending]]) -> None:
    tally, failures = Tally(), dict.fromkeys((provider for provider, _ in events), 0)
    for provider, ending in events:
        tally.attempt("", str(provider), ending)
        failures[provider] += ending is not Ending.REPLIED
    told, _, _ = tally.take()
    found = [row.connect_failed + row.timed_out + row.reset for row in told]
    assert found == sorted(failures.values(), reverse=True)[:MOST_ROWS]


def test_names_without_end_take_no_memory_without_end() -> None:
    tally = Tally()
    for number in range(module.MOST_KEYS + 100):
        tally.attempt("", str(number), Ending.RESET)
    tally.attempt("", "0", Ending.RESET)
    assert len(tally._attempts) == module.MOST_KEYS
    assert tally.take()[0][0] == Attempts("", "0", reset=2)


def test_who_was_away_blames_nobody_for_being_late() -> None:
    tally = Tally()
    for ending in Ending:
        tally.attempt("", "a", ending)
    for good in (True, False):
        tally.confirm("b:1", good)
        tally.lookup("r:53", good)
    tally.lookup("s:53", False)
    tally.forgive()
    assert tally.take() == (
        (Attempts("", "a", replied=1, reset=1),),
        (Confirms("b:1", 1),),
        (Lookups("Resolver", "r:53", 1),),
    )
