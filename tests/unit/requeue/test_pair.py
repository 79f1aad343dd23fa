"""Two lanes are read side by side, so that no copy is left behind for hours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.spool.rabbitmq.requeue.pair import AFTER, Found, Pair
from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane

LIMIT = 1000.0


def found(deferred: float, name: str = "") -> Found:
    return Found(1, b"", name or f"{deferred}", deferred, "again")


def moved(pair: Pair) -> list[tuple[Lane, str]]:
    return [(lane, each.message_id) for lane, each in pair.movable()]


def test_a_record_is_moved_when_both_lanes_were_read_beyond_its_time() -> None:
    pair = Pair(LIMIT)
    pair.read("a", 10.0, found(10.0))
    assert moved(pair) == []
    pair.read("b", 10.0, found(10.0))
    assert moved(pair) == []
    pair.read("b", 11.0, None)
    assert moved(pair) == []
    pair.end("a")
    assert moved(pair) == [("a", "10.0"), ("b", "10.0")]
    assert moved(pair) == []


def test_the_lane_that_was_read_less_far_is_read() -> None:
    pair = Pair(LIMIT)
    assert all(map(pair.may_read, LANES))
    pair.read("a", 10.0, None)
    assert [pair.may_read(each) for each in LANES] == [False, True]
    pair.end("b")
    assert [pair.may_read(each) for each in LANES] == [True, False]
    assert not pair.whole
    pair.end("a")
    assert pair.whole


def test_a_lane_has_been_read_when_all_that_comes_is_from_after_the_limit_and_one_wrong_clock_is_not_all() -> None:
    pair = Pair(LIMIT)
    pair.read("a", LIMIT + 9000, None)
    pair.read("a", 5.0, None)
    for _ in range(AFTER - 1):
        pair.read("a", LIMIT, None)
    assert not pair.is_whole("a")
    pair.read("a", LIMIT, None)
    assert pair.is_whole("a")


times = st.lists(st.integers(0, 30), max_size=20).map(sorted)


@given(times, times, st.lists(st.integers(0, 30), max_size=8), st.integers(0, 60), st.randoms())
def test_wherever_it_ends_both_copies_were_moved_or_neither(
    first: list[int], second: list[int], twins: list[int], steps: int, random: object
) -> None:
    """Lanes in the order of time, some records in both; each is read only when it is its turn, and reading ends after so many."""
    queues: dict[Lane, list[tuple[float, str]]] = {
        "a": sorted([(t, f"a{n}") for n, t in enumerate(first)] + [(t, f"twin{n}") for n, t in enumerate(twins)]),
        "b": sorted([(t, f"b{n}") for n, t in enumerate(second)] + [(t, f"twin{n}") for n, t in enumerate(twins)]),
    }
    pair, gone = Pair(LIMIT), set[tuple[Lane, str]]()
    for _ in range(steps):
        turns = [lane for lane in LANES if pair.may_read(lane)]
        if not turns:
            break
        lane = random.choice(turns)  # type: ignore[attr-defined]
        if queues[lane]:
            deferred, name = queues[lane].pop(0)
            pair.read(lane, deferred, found(deferred, name))
        else:
            pair.end(lane)
        gone.update(moved(pair))
    for number in range(len(twins)):
        assert (("a", f"twin{number}") in gone) == (("b", f"twin{number}") in gone)
    if pair.whole:
        assert len(gone) == len(first) + len(second) + 2 * len(twins)
