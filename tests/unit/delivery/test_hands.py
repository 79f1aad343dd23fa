"""Hands: each place has its own, and mail of one lane leaves half of those that are free to others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import pytest

from relayfleet.relay.delivery.hands import LANE_HANDS, Hands
from relayfleet.relay.spool.interface import Held
from relayfleet.relay.spool.places import FRONT, LANED, LOOK, NAMED, PLACES, PROVIDER_LANES, leads_to


@dataclass(eq=False)
class InHand:
    place: int
    released: bool = False

    def release(self) -> None:
        self.released = True


async def never() -> None:
    await asyncio.Event().wait()


def take(hands: Hands, place: int) -> Held:
    held = cast("Held", InHand(place))
    hands.take(held, never())
    return held


async def test_hands_of_one_place_that_are_all_taken_leave_those_of_all_others() -> None:
    hands = Hands(2)
    for _ in range(LANE_HANDS):
        take(hands, 3)
    assert [each for each in PLACES if not hands.of(each).room.is_set()] == [3]
    for _ in range(2):
        take(hands, FRONT)
    assert [each for each in PLACES if not hands.of(each).room.is_set()] == [FRONT, 3]
    hands.limit(3)
    assert hands.of(FRONT).room.is_set()
    await hands.finish(0.0)
    assert all(hands.of(each).room.is_set() for each in PLACES)
    assert len(hands) == 0


@pytest.mark.parametrize("slow", [1, 2, 10])
async def test_any_number_of_lanes_leaves_room_in_the_front(slow: int) -> None:
    hands = Hands(200)
    for _ in range(200):
        for lane in range(slow):
            if not hands.of(FRONT).crowded_by(lane) and hands.of(FRONT).room.is_set():
                hands.bind(take(hands, FRONT), lane)
    free = 200 - hands.of(FRONT).taken
    assert free >= 200 // (2 * slow + 2)
    assert all(hands.of(FRONT).crowded_by(lane) for lane in range(slow))
    assert not hands.of(FRONT).crowded_by(slow)
    await hands.finish(0.0)


async def test_all_places_yield_by_the_same_part_and_none_is_without_hands() -> None:
    hands = Hands(200)
    hands.yield_to(0.125)
    assert (hands.of(FRONT).limit, {hands.of(each).limit for each in LANED}) == (25, {LANE_HANDS // 8})
    hands.yield_to(1e-9)
    assert {hands.of(each).limit for each in PLACES} == {1}
    take(hands, FRONT)
    assert not hands.of(FRONT).room.is_set()
    hands.yield_to(1.0)
    assert hands.of(FRONT).room.is_set()
    hands.limit(100)
    hands.yield_to(0.5)
    assert hands.of(FRONT).limit == 50
    await hands.finish(0.0)


async def test_what_is_under_way_when_hands_become_fewer_goes_on_and_none_are_added() -> None:
    hands = Hands(8)
    for _ in range(5):
        held = take(hands, FRONT)
    hands.bind(held, 0)
    hands.yield_to(0.5)
    assert (hands.of(FRONT).taken, hands.of(FRONT).room.is_set()) == (5, False)
    assert hands.of(FRONT).crowded_by(0) is False, "its lane is not to blame for it"
    await hands.finish(0.0)
    assert hands.of(FRONT).room.is_set()


async def test_what_is_done_or_handed_back_is_bound_no_more() -> None:
    hands = Hands(10)
    first, second = take(hands, FRONT), take(hands, FRONT)
    for each in (first, second, first):
        hands.bind(each, 5)
    assert hands.of(FRONT).bound[5] == 2
    for each in (first, first, second):
        hands.end(each)
    assert hands.of(FRONT).bound[5] == 0
    await hands.finish(0.0)


@pytest.mark.parametrize("start", PLACES)
def test_wherever_a_record_is_moved_it_comes_to_rest_whatever_relays_think_of_it(start: int) -> None:
    """No relay's table leads it round for ever: each move is to a place from which fewer moves are left."""
    left = {place: sum(leads_to(place, lane) for lane in PROVIDER_LANES) for place in PLACES}
    assert all(left[lane] < left[start] for lane in PROVIDER_LANES if leads_to(start, lane))
    assert left[FRONT] == left[LOOK] == len(PROVIDER_LANES)
    assert all(left[each] == 0 for each in LANED[:NAMED])
