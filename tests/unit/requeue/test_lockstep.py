"""The queues of a rung are read in lockstep, so that no copy is left behind for hours."""

from __future__ import annotations

import itertools
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.spool.rabbitmq.requeue.lockstep import AFTER, Found, Lockstep
from relayfleet.relay.spool.rabbitmq.topology import Topology

LIMIT = 1000.0
TWO = ("a", "b")
FOUR = tuple(Topology("p", 3).waiting(14400))
TAGS = itertools.count()


def found(deferred: float, name: str = "") -> Found:
    return Found(next(TAGS), b"", name or f"{deferred}", deferred, "again")


def moved(lockstep: Lockstep) -> list[tuple[str, str]]:
    return [(queue, each.message_id) for queue, each in lockstep.movable()]


def test_a_record_is_moved_when_all_queues_were_read_beyond_its_time() -> None:
    lockstep = Lockstep("abcd", LIMIT)
    lockstep.read("a", 10.0, found(10.0))
    lockstep.end("d")
    assert moved(lockstep) == []
    lockstep.read("b", 10.0, found(10.0))
    lockstep.read("b", 11.0, None)
    lockstep.read("c", 500.0, None)
    assert moved(lockstep) == []
    lockstep.end("a")
    assert moved(lockstep) == [("a", "10.0"), ("b", "10.0")]
    assert moved(lockstep) == []


def test_one_that_came_out_of_order_is_moved_with_its_twin() -> None:
    lockstep = Lockstep(TWO, LIMIT)
    lockstep.read("a", 90.0, found(90.0, "late"))
    lockstep.read("a", 50.0, found(50.0, "twin"))
    lockstep.read("b", 50.0, found(50.0, "twin"))
    lockstep.read("b", 80.0, None)
    assert moved(lockstep) == [("a", "twin"), ("b", "twin")]


def test_the_queue_that_was_read_least_far_is_read() -> None:
    lockstep = Lockstep("abc", LIMIT)
    assert all(map(lockstep.may_read, "abc"))
    lockstep.read("a", 10.0, None)
    lockstep.read("b", 20.0, None)
    assert [lockstep.may_read(each) for each in "abc"] == [False, False, True]
    lockstep.end("c")
    assert [lockstep.may_read(each) for each in "abc"] == [True, False, False]
    assert not lockstep.whole
    lockstep.end("a")
    assert [lockstep.may_read(each) for each in "abc"] == [False, True, False]
    lockstep.end("b")
    assert lockstep.whole


def test_a_queue_has_been_read_when_all_that_comes_is_from_after_the_limit_and_one_wrong_clock_is_not_all() -> None:
    lockstep = Lockstep(TWO, LIMIT)
    lockstep.read("a", LIMIT + 9000, None)
    lockstep.read("a", 5.0, None)
    for _ in range(AFTER - 1):
        lockstep.read("a", LIMIT, None)
    assert not lockstep.is_whole("a")
    lockstep.read("a", LIMIT, None)
    assert lockstep.is_whole("a")


times = st.lists(st.integers(0, 30), max_size=12)
twins = st.lists(st.tuples(st.integers(0, 30), st.sets(st.sampled_from(FOUR), min_size=2)), max_size=8)


@given(st.tuples(times, times, times, times), twins, st.sets(st.sampled_from(FOUR)), st.integers(0, 100), st.randoms())
def test_wherever_it_ends_all_copies_were_moved_or_none(
    alone: tuple[list[int], ...],
    copied: list[tuple[int, set[str]]],
    missing: set[str],
    steps: int,
    random: Random,
) -> None:
    """Queues in the order of time, some records in two or more, some queues missing; each is read only when it is its turn, and reading ends after so many."""
    queues: dict[str, list[tuple[float, str]]] = {queue: [] for queue in FOUR}
    for queue, moments in zip(FOUR, alone, strict=True):
        queues[queue] += [(t, f"{queue} {n}") for n, t in enumerate(moments)]
    for number, (t, where) in enumerate(copied):
        for queue in where:
            queues[queue].append((t, f"twin{number}"))
    lockstep, gone = Lockstep(FOUR, LIMIT), set[tuple[str, str]]()
    for queue in FOUR:
        queues[queue] = sorted(queues[queue]) if queue not in missing else []
    there = {(queue, name) for queue in FOUR for _, name in queues[queue]}
    for queue in missing:
        lockstep.end(queue)
    for _ in range(steps):
        turns = [queue for queue in FOUR if lockstep.may_read(queue)]
        if not turns:
            break
        queue = random.choice(turns)
        if queues[queue]:
            deferred, name = queues[queue].pop(0)
            lockstep.read(queue, deferred, found(deferred, name))
        else:
            lockstep.end(queue)
        gone.update(moved(lockstep))
    for number in range(len(copied)):
        copies = {each for each in there if each[1] == f"twin{number}"}
        assert copies <= gone or not copies & gone
    if lockstep.whole:
        assert gone == there
