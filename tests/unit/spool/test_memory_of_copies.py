"""The journal remembers what became of a copy for longer than any twin of it can come later."""

from __future__ import annotations

import itertools

import pytest

from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.delivery.patience import PATIENCE
from relayfleet.relay.spool.rabbitmq import journal
from relayfleet.relay.spool.rabbitmq.ledger import KEEP
from relayfleet.relay.spool.rabbitmq.requeue.plan import SHORTEST_RUNG, Plan, Visited, visit_seconds
from relayfleet.relay.spool.rabbitmq.requeue.release import VISIT_SECONDS
from relayfleet.relay.spool.rabbitmq.requeue.service import OTHERS_PAUSE
from relayfleet.relay.spool.rabbitmq.topology import LADDER, LANE_SECONDS, LANES, LOOK_SECONDS, Lane, Topology
from relayfleet.relay.spool.sealer import LONGEST

POOL = Topology("p", 3)
SETTLING = sum(PATIENCE) + (len(PATIENCE) + 1) * Broker(()).publish_timeout
"""Seconds: a settlement that fails is tried again for so long, and each try may leave a copy behind."""
DEAD_LETTERING = 2 * 180.0
"""RabbitMQ hands a dead letter over again when that is not confirmed within three minutes (`dead_letter_worker_publisher_confirm_timeout`);
twice, since it may happen to one copy only."""
IN_HAND = max(map(visit_seconds, LADDER))
"""What comes due while a Requeue looks through its queue is late by that; one copy only, since its twin has come by then."""
ROUND = sum(visit_seconds(rung) for rung in LADDER if rung >= SHORTEST_RUNG)
"""A visit to each rung, before one is visited again."""
NOTICED = 60.0
"""Seconds until a broker knows that a relay is gone (heartbeats), or that the node is which the relay was connected to (the net tick)."""
RESERVE = 15 * 60.0
"""For what has no bound: one lane's ready queue is longer than the other's."""
UNITS = {"m": 60.0, "h": 3600.0}


def seconds(lane: Lane, name: str) -> float:
    """How long a record waits in the lane's queue of that name."""
    queues = {queue.name: queue for queue in POOL.queues(lane)}
    return float(queues[name].arguments["x-message-ttl"]) / 1000


def apart(rung: float) -> float:
    """How far apart the copies of one record come back that a late confirm left in both lanes."""
    waits = {
        (lane, meant): seconds(lane, POOL.wait(rung, lane, meant)) for lane, meant in itertools.product(LANES, LANES)
    }
    return max(abs(waits["a", meant] - waits["b", meant]) for meant in LANES)


def old_apart(rung: float) -> float:
    """The same of a relay that knows one queue a lane and rung."""
    return abs(seconds("b", POOL.wait(rung, "b")) - seconds("a", POOL.wait(rung, "a")))


@pytest.mark.parametrize("rung", LADDER)
def test_what_became_of_a_copy_is_known_until_its_twin_comes(rung: float) -> None:
    assert apart(rung) + SETTLING + DEAD_LETTERING + IN_HAND + RESERVE <= KEEP


def test_what_became_of_a_copy_whose_key_was_missing_is_known_until_its_twin_comes() -> None:
    """Each is put off at its own moments; the key comes back when the one has just gone to wait, and the other's turn is now."""
    assert max(seconds(lane, POOL.wait(LONGEST, lane)) for lane in LANES) + RESERVE <= KEEP


def test_copies_that_older_relays_left_are_known_as_well() -> None:
    assert max(map(old_apart, LADDER)) + SETTLING + DEAD_LETTERING / 2 + IN_HAND <= KEEP


def test_a_relay_that_starts_reads_as_far_back_as_it_would_remember_and_the_stream_keeps_that() -> None:
    kept = journal.stream(Broker(())).arguments["x-max-age"]
    assert KEEP <= span(journal.LOOK_BACK) <= span(kept)


def test_what_a_relay_that_died_has_moved_is_known_until_the_next_moves_the_copies_that_it_left() -> None:
    assert NOTICED + OTHERS_PAUSE + ROUND + RESERVE <= KEEP


@pytest.mark.parametrize("rung", [each for each in LADDER if each >= SHORTEST_RUNG])
def test_a_copy_that_a_requeue_could_not_mean_yet_or_that_was_stored_after_it_is_met_by_the_next(rung: int) -> None:
    plan = Plan((rung,))
    plan.follow((0.0,))
    for found in (None, Visited(9, 0, whole=False), Visited(9, 1, whole=False), Visited(9, 1, whole=True)):
        plan.visited(rung, 1.0, 1.0, found)
        assert plan.next_at(1.0) - 1.0 + ROUND + SETTLING <= KEEP


def test_a_copy_in_a_provider_lane_is_looked_at_while_it_is_known_what_became_of_its_twin() -> None:
    """However long the lane is, and also where nobody takes from it: twice a dead letter, of which each may be handed over again."""
    move = Broker(()).publish_timeout
    assert LANE_SECONDS + LOOK_SECONDS + 2 * DEAD_LETTERING + move + RESERVE <= KEEP


def test_a_parked_copy_is_looked_at_while_it_is_known_what_became_of_its_twin() -> None:
    """As in a lane, and later by the visit in whose hands it is when its time is over. However long its destination stays down, it goes on from one look to the next."""
    ttl = {each.name: each.arguments["x-message-ttl"] / 1000 for each in POOL.parking()}
    move = Broker(()).publish_timeout
    assert sum(ttl.values()) == LANE_SECONDS + LOOK_SECONDS
    assert sum(ttl.values()) + VISIT_SECONDS + 2 * DEAD_LETTERING + move + RESERVE <= KEEP


@pytest.mark.parametrize("meant", LANES)
@pytest.mark.parametrize("rung", LADDER)
def test_no_copy_comes_before_its_time(rung: float, meant: Lane) -> None:
    assert all(seconds(lane, POOL.wait(rung, lane, meant)) >= rung for lane in LANES)


def test_copies_of_the_longest_waits_are_in_queues_of_one_length_and_everything_else_is_where_it_was() -> None:
    assert {seconds(lane, POOL.wait(14400, lane, "a")) for lane in LANES} == {14400.0}
    assert {seconds(lane, POOL.wait(14400, lane, "b")) for lane in LANES} == {17280.0}
    for rung, lane, meant in itertools.product(LADDER[:-1], LANES, LANES):
        assert POOL.wait(rung, lane, meant) == POOL.wait(rung, lane)


def span(text: str) -> float:
    return float(text[:-1]) * UNITS[text[-1]]
