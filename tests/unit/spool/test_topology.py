"""Queues have the names and arguments on which the promises rest."""

from __future__ import annotations

import pytest

from relayfleet.relay.spool.places import LOOK, PROVIDER_LANES
from relayfleet.relay.spool.rabbitmq.topology import LADDER, LANE_SECONDS, LANES, LOOK_SECONDS, Topology

POOL = Topology("mail.pool", replicas=3)


@pytest.mark.parametrize(
    ("delay", "rung"),
    [
        (0.5, 15),
        (15, 15),
        (15.1, 60),
        (60, 60),
        (61, 120),
        (600, 600),
        (14400, 14400),
        (432000, 14400),
    ],
)
def test_a_delay_goes_to_the_lowest_rung_that_is_not_below_it(delay: float, rung: int) -> None:
    assert POOL.wait(delay, "a") == f"mail.pool.v1.wait.{rung}.a"


def test_no_record_comes_back_before_its_time_and_the_lanes_differ() -> None:
    for rung in LADDER:
        times = {lane: argument(POOL.wait(rung, lane), "x-message-ttl") for lane in LANES}
        assert times == {"a": rung * 1000, "b": rung * 1200}


def test_every_queue_is_replicated_and_never_drops_a_record_that_came_back_often() -> None:
    for lane in LANES:
        for queue in POOL.queues(lane):
            assert queue.arguments["x-queue-type"] == "quorum"
            assert queue.arguments["x-quorum-initial-group-size"] == 3
            assert queue.arguments["x-delivery-limit"] == -1


def test_waiting_queues_hand_their_records_back_at_least_once_to_the_ready_queue_of_their_lane() -> None:
    for lane in LANES:
        waiting = [each for each in POOL.queues(lane) if ".wait." in each.name]
        assert len(waiting) == len(LADDER) + 1, "one for copies of the other lane's top rung"
        for queue in waiting:
            assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
            assert queue.arguments["x-overflow"] == "reject-publish"
            assert queue.arguments["x-dead-letter-exchange"] == ""
            assert queue.arguments["x-dead-letter-routing-key"] == POOL.ready(lane)


def test_the_ready_queues_and_the_quarantine_keep_what_they_have() -> None:
    for name in (POOL.ready("a"), POOL.ready("b"), POOL.quarantine):
        assert argument(name, "x-message-ttl") is None
        assert argument(name, "x-dead-letter-exchange") is None


def test_no_queue_is_declared_twice() -> None:
    names = [queue.name for lane in LANES for queue in POOL.queues(lane)]
    assert len(names) == len(set(names)) == 2 * len(LADDER) + 5


def argument(name: str, key: str) -> object:
    """One argument of the queue with that name."""
    queues = {queue.name: queue for lane in LANES for queue in POOL.queues(lane)}
    return queues[name].arguments.get(key)


def test_what_waits_on_a_rung_and_its_copies_are_in_two_queues_or_in_four_where_the_lanes_are_far_apart() -> None:
    for rung in LADDER[:-1]:
        assert POOL.waiting(rung) == {POOL.wait(rung, lane): lane for lane in LANES}
    apart = {
        f"mail.pool.v1.wait.{each}.{lane}": lane
        for lane, each in (("a", 14400), ("a", 17280), ("b", 12000), ("b", 14400))
    }
    assert POOL.waiting(14400) == apart
    named = {name for rung in LADDER for name in POOL.waiting(rung)}
    assert named == {each.name for lane in LANES for each in POOL.queues(lane) if ".wait." in each.name}


def test_a_provider_lane_is_left_for_a_look_and_that_for_the_front_so_that_nothing_lies_unseen() -> None:
    look, *lanes = POOL.provider_lanes()
    assert look.name == POOL.place(LOOK) == "mail.pool.v1.look"
    assert [each.name for each in lanes] == [f"mail.pool.v1.lane.{number}" for number in PROVIDER_LANES]
    for queue, seconds, target in [
        *((each, LANE_SECONDS, look.name) for each in lanes),
        (look, LOOK_SECONDS, POOL.ready("b")),
    ]:
        assert queue.arguments["x-queue-type"] == "quorum"
        assert queue.arguments["x-delivery-limit"] == -1
        assert queue.arguments["x-message-ttl"] == seconds * 1000
        assert queue.arguments["x-dead-letter-routing-key"] == target
        assert (queue.arguments["x-dead-letter-strategy"], queue.arguments["x-overflow"]) == (
            "at-least-once",
            "reject-publish",
        )


def test_a_pool_that_uses_no_provider_lanes_has_none() -> None:
    made = {queue.name for lane in LANES for queue in POOL.queues(lane)}
    assert not made & {each.name for each in POOL.provider_lanes()}
