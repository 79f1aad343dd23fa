"""Which queues get another member, how large a cluster is, and which pods are made anew."""

from __future__ import annotations

import pytest

from relayfleet.decide.queue.facts import Brokers, Pod, Queue
from relayfleet.decide.queue.members import Addition, additions, lacking
from relayfleet.decide.queue.size import brokers_wanted
from relayfleet.decide.queue.stuck import to_replace

ALL = ("a", "b", "c", "d", "e")


def queue(name: str, members: str, online: str | None = None) -> Queue:
    return Queue("/", name, frozenset(members), frozenset(members if online is None else online), leader=members[0])


def brokers(*queues: Queue, running: str = "abcde") -> Brokers:
    return Brokers("4.0.5", running=frozenset(running), known=frozenset(ALL), queues=queues)


def test_each_queue_gets_one_member_at_a_time() -> None:
    found = additions(brokers(queue("one", "abc"), queue("two", "abcd")), ALL)
    assert found == [Addition("/", "one", "d"), Addition("/", "two", "e")]


def test_a_queue_with_a_member_that_is_down_gets_none() -> None:
    assert additions(brokers(queue("one", "abc", online="ab")), ALL) == []


def test_a_broker_that_is_down_gets_no_member() -> None:
    assert additions(brokers(queue("one", "abc"), running="abcd"), ALL) == [Addition("/", "one", "d")]
    assert additions(brokers(queue("one", "abcd"), running="abcd"), ALL) == []


def test_a_queue_of_which_nothing_is_known_is_left_alone() -> None:
    assert additions(brokers(Queue("/", "one", frozenset(), frozenset())), ALL) == []


def test_queues_that_lack_a_member_are_counted() -> None:
    assert lacking(brokers(queue("one", "abc"), queue("two", "abcde")), ALL) == 1


SIZES = {
    "as stated when it is new": ((3, None, 0), 3),
    "a new resource is held to the volumes that are there": ((3, None, 5), 5),
    "an even number of volumes is rounded up": ((3, None, 4), 5),
    "the one volume that was made first does not count": ((3, None, 1), 3),
    "it grows": ((5, 3, 3), 5),
    "volumes that appear later do not make it grow": ((3, 3, 7), 3),
    "seven is the most": ((7, None, 9), 7),
}


@pytest.mark.parametrize(("given", "wanted"), SIZES.values(), ids=SIZES.keys())
def test_size(given: tuple[int, int | None, int], wanted: int) -> None:
    assert brokers_wanted(*given) == wanted


def test_pods_of_a_wrong_image_are_made_anew_when_none_ever_ran() -> None:
    stale = [Pod(f"q-{number}", "n", current=number == 2) for number in range(3)]
    assert to_replace(stale) == ["q-0", "q-1"]


def test_a_pod_that_ran_is_left_to_the_stateful_set() -> None:
    assert to_replace([Pod("q-0", "n", current=False, started=True), Pod("q-1", "n")]) == []


def test_while_a_broker_serves_nothing_is_deleted() -> None:
    assert to_replace([Pod("q-0", "n", ready=True), Pod("q-1", "n", current=False)]) == []
