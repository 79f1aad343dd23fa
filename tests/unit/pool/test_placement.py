"""Which slice holds which endpoint: nothing moves without need, nothing is listed twice."""

from __future__ import annotations

import random
from collections.abc import Sequence

from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.listing import shares
from relayfleet.decide.pool.placement import CAPACITY, Entry, Key, Slices, order, place
from relayfleet.decide.pool.relays import Relay
from relayfleet.decide.weights import Condition, lanes

FIRST = Key("IPv4", 0, 0)


def relay(number: int, **more: bool | Level | int) -> Relay:
    return Relay(f"r{number:03}", {"IPv4": f"198.18.{number // 250}.{number % 250}"}, **more)  # type: ignore[arg-type]


def placed(relays: Sequence[Relay], before: Slices | None = None, families: Sequence[str] = ("IPv4",)) -> Slices:
    return place(lanes(shares(relays)), relays, families, before or {})


def listed(slices: Slices) -> list[tuple[int, str]]:
    """Every endpoint as kube-proxy tells them apart: lane (which means port) and address."""
    return [(key.lane, entry.address) for key, entries in slices.items() for entry in entries]


def test_equal_weights_need_one_slice() -> None:
    assert list(placed([relay(1), relay(2), relay(3)])) == [FIRST]


def test_an_empty_pool_keeps_its_first_slice() -> None:
    assert placed([], {FIRST: (Entry("r001", "198.18.0.1", Condition.READY),)}) == {FIRST: ()}


def test_a_cordon_changes_one_slice_and_only_a_condition() -> None:
    before = placed([relay(1), relay(2)])
    after = placed([relay(1, level=Level.SOFT), relay(2)], before)
    assert [(each.relay, each.condition) for each in after[FIRST]] == [
        ("r001", Condition.LAST_RESORT),
        ("r002", Condition.READY),
    ]
    assert list(after) == list(before)


def test_different_weights_take_more_lanes() -> None:
    slices = placed([relay(1, weight=4), relay(2, weight=1)])
    assert {key.lane: [entry.relay for entry in entries] for key, entries in slices.items()} == {
        0: ["r001", "r002"],
        1: ["r001"],
        2: ["r001"],
        3: ["r001"],
    }


def test_a_slice_holds_no_more_than_its_capacity() -> None:
    slices = placed([relay(number) for number in range(250)])
    assert [len(entries) for entries in slices.values()] == [CAPACITY, CAPACITY, 50]


def test_each_family_has_slices_of_its_own() -> None:
    both = Relay("a", {"IPv4": "198.18.0.1", "IPv6": "2001:db8::1"})
    slices = placed([both, relay(2)], families=("IPv4", "IPv6"))
    assert {key.family: [entry.relay for entry in entries] for key, entries in slices.items()} == {
        "IPv4": ["a", "r002"],
        "IPv6": ["a"],
    }


def test_an_address_that_a_dead_pod_still_claims_is_listed_for_the_living_one() -> None:
    dead, living = Relay("a", {"IPv4": "198.18.0.1"}, serves=False), Relay("b", {"IPv4": "198.18.0.1"})
    assert placed([dead, living])[FIRST] == (Entry("b", "198.18.0.1", Condition.READY),)


def test_whatever_comes_and_goes_no_endpoint_moves_or_is_listed_twice() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    choose = random.Random(seed)
    slices: Slices = {}
    alive: set[int] = set()
    for _ in range(60):
        alive ^= set(choose.sample(range(350), 40))
        relays = [relay(each, serves=choose.random() > 0.1, weight=choose.randint(1, 4)) for each in alive]
        after = placed(relays, slices)
        assert len(listed(after)) == len(set(listed(after)))
        assert all(len(entries) <= CAPACITY for entries in after.values())
        home = {(key.lane, entry.address): key.part for key, entries in slices.items() for entry in entries}
        for key, entries in after.items():
            for entry in entries:
                assert home.get((key.lane, entry.address), key.part) == key.part
        slices = after


def test_every_slice_is_in_the_order_of_writes_once_and_one_that_must_go_too() -> None:
    before = placed([relay(1, weight=4), relay(2, weight=1)])
    after = placed([relay(1), relay(2)], before)
    assert sorted(order(before, after)) == sorted(before)
    assert set(before) - set(after) == {Key("IPv4", lane, 0) for lane in (1, 2, 3)}
