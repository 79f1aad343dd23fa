"""Weight lanes: proportions, one write where one is enough, and never one address and port twice."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.decide.weights import QUARTERS, Condition, Endpoint, Lane, Share, lanes, order_of_writes

READY, LAST, OUT = Condition.READY, Condition.LAST_RESORT, Condition.OUT

SHARES = st.dictionaries(
    st.sampled_from([f"r{number}" for number in range(8)]),
    st.tuples(st.sampled_from(list(Condition)), st.integers(0, QUARTERS)),
    max_size=8,
).map(lambda each: [Share(name, *rest) for name, rest in each.items()])


def ready(listed: Lane) -> list[str]:
    return [each.relay for each in listed if each.condition is READY]


@pytest.mark.parametrize(
    ("weights", "expected"),
    {
        "equal weights need one lane": ([4, 4, 4], [["a", "b", "c"]]),
        "equal small weights need one lane too": ([1, 1], [["a", "b"]]),
        "half the weight is one lane of two": ([4, 4, 2], [["a", "b", "c"], ["a", "b"]]),
        "three quarters need all lanes": ([4, 3], [["a", "b"], ["a", "b"], ["a", "b"], ["a"]]),
        "no weight is no lane": ([4, 0], [["a"]]),
        "no weights at all are equal weights": ([0, 0], [["a", "b"]]),
        "no relays are no lanes": ([], []),
    }.values(),
)
def test_lanes(weights: list[int], expected: list[list[str]]) -> None:
    shares = [Share("abc"[index], READY, weight) for index, weight in enumerate(weights)]
    assert [ready(lane) for lane in lanes(shares)] == expected


def test_a_cordon_among_equals_is_one_flip_in_place_and_one_write() -> None:
    before = lanes([Share(name, READY, 4) for name in "abc"])
    after = lanes([Share("a", LAST, 4), Share("b", READY, 4), Share("c", READY, 4)])
    assert after == ((Endpoint("a", LAST), Endpoint("b", READY), Endpoint("c", READY)),)
    assert order_of_writes(before, after) == (0,)


def test_the_lane_that_takes_most_off_cordoned_relays_is_written_first() -> None:
    before = lanes([Share("a", READY, 4), Share("b", READY, 4), Share("c", READY, 1)])
    after = lanes([Share("a", READY, 4), Share("b", OUT, 4), Share("c", OUT, 1)])
    assert order_of_writes(before, after)[0] == 0


def test_lanes_that_only_shrink_come_last() -> None:
    before = lanes([Share("a", READY, 4), Share("b", READY, 2)])
    after = lanes([Share("a", READY, 2), Share("b", READY, 4)])
    assert order_of_writes(before, after) == (1,)
    wider = lanes([Share("a", READY, 4), Share("b", READY, 1), Share("c", READY, 3)])
    assert order_of_writes(wider, ()) == (0, 1, 2, 3)


def test_nothing_changed_is_nothing_written() -> None:
    same = lanes([Share("a", READY, 4), Share("b", READY, 3)])
    assert order_of_writes(same, same) == ()


@pytest.mark.parametrize("shares", [[Share("a", READY, 5)], [Share("a", READY, -1)], [Share("a", READY, 4)] * 2])
def test_shares_that_make_no_sense_are_refused(shares: list[Share]) -> None:
    with pytest.raises(ValueError, match="a"):
        lanes(shares)


@given(SHARES)
def test_no_relay_is_twice_in_a_lane_and_all_with_traffic_are_listed(shares: list[Share]) -> None:
    planned = lanes(shares)
    assert len(planned) <= QUARTERS
    for lane in planned:
        names = [each.relay for each in lane]
        assert len(set(names)) == len(names)
    listed = {each.relay for lane in planned for each in lane}
    anyone = any(share.quarters for share in shares if share.condition is READY)
    assert listed == {s.relay for s in shares if s.quarters or s.condition is not READY or not anyone}


@given(SHARES)
def test_traffic_is_in_proportion_to_the_weights(shares: list[Share]) -> None:
    planned = lanes(shares)
    weights = {share.relay: share.quarters for share in shares if share.condition is READY}
    if not any(weights.values()):
        return
    counts = {relay: sum(relay in ready(lane) for lane in planned) for relay in weights}
    for relay, weight in weights.items():
        assert Fraction(counts[relay], sum(counts.values())) == Fraction(weight, sum(weights.values()))


@given(SHARES, SHARES)
def test_after_the_writes_everything_is_as_planned(was: list[Share], wanted: list[Share]) -> None:
    before, after = lanes(was), lanes(wanted)
    order = order_of_writes(before, after)
    assert len(set(order)) == len(order)
    current: dict[int, Lane] = dict(enumerate(before))
    for number in order:
        current[number] = after[number] if number < len(after) else ()
    assert [lane for _, lane in sorted(current.items()) if lane] == [lane for lane in after if lane]
