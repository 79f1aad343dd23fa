"""When which rung is looked through."""

from __future__ import annotations

import math

import pytest

from relayfleet.relay.spool.rabbitmq.requeue.plan import LATE, Plan, Visited, visit_seconds
from relayfleet.relay.spool.rabbitmq.topology import LADDER

MOMENT = 1_000_000.0
WHOLE, CUT, STUCK = Visited(10, 2, whole=True), Visited(10, 2, whole=False), Visited(60_000, 0, whole=False)


def plan(*moments: float, ladder: tuple[int, ...] = LADDER) -> Plan:
    made = Plan(ladder)
    made.follow(moments)
    return made


def through(made: Plan, now: float) -> list[int]:
    """The rungs that are visited, all at one time."""
    found = []
    while (rung := made.due(now)) is not None:
        found.append(rung)
        made.visited(rung, now, now, WHOLE)
    return found


def test_without_an_order_nothing_is_ever_due() -> None:
    assert plan().next_at(MOMENT) == math.inf
    assert plan().due(MOMENT) is None


def test_each_rung_but_the_shortest_is_looked_through_when_the_moment_has_come() -> None:
    made = plan(MOMENT)
    assert made.next_at(MOMENT - 60) == MOMENT
    assert made.due(MOMENT - 60) is None
    assert through(made, MOMENT) == [each for each in LADDER if each >= 240]


def test_a_relay_that_starts_the_next_day_has_nothing_to_do() -> None:
    assert plan(MOMENT).next_at(MOMENT + 86_400) == math.inf


@pytest.mark.parametrize("rung", [240, 14400])
def test_a_rung_is_looked_at_until_nothing_on_it_can_be_from_before_the_moment(rung: int) -> None:
    last = MOMENT + rung * 1.2 + LATE
    assert plan(MOMENT, ladder=(rung,)).due(last - 1) == rung
    assert plan(MOMENT, ladder=(rung,)).next_at(last) == math.inf


def test_it_is_looked_at_again_soon_while_there_is_something_to_do_and_else_seldom() -> None:
    for found, pause in ((WHOLE, 1800), (STUCK, 300), (CUT, 5), (None, 5)):
        made = plan(MOMENT, ladder=(14400,))
        made.visited(14400, MOMENT + 1, MOMENT + 100, found)
        assert made.next_at(MOMENT + 100) == MOMENT + 100 + pause


def test_the_moment_of_another_rule_does_not_wait_for_the_next_look() -> None:
    made = plan(MOMENT, MOMENT + 200, ladder=(14400,))
    made.visited(14400, MOMENT + 1, MOMENT + 100, WHOLE)
    assert made.next_at(MOMENT + 100) == MOMENT + 200
    assert (made.limit(MOMENT + 199), made.limit(MOMENT + 200)) == (MOMENT, MOMENT + 200)


def test_other_orders_begin_anew() -> None:
    made = plan(MOMENT, ladder=(14400,))
    made.visited(14400, MOMENT + 1, MOMENT + 100, WHOLE)
    made.follow((MOMENT,))
    assert made.due(MOMENT + 100) == 14400
    made.follow(())
    assert made.due(MOMENT + 100) is None


def test_what_is_in_hand_is_late_by_less_than_the_jitter_of_retries() -> None:
    for rung in LADDER:
        assert visit_seconds(rung) <= min(0.1 * rung, 120)
