"""Who is listed for traffic, and how."""

from __future__ import annotations

import itertools

import pytest

from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.leaving import deletion_cost
from relayfleet.decide.pool.listing import shares
from relayfleet.decide.pool.relays import Relay
from relayfleet.decide.weights import Condition

READY, LAST, OUT = Condition.READY, Condition.LAST_RESORT, Condition.OUT
WELL = Relay("well")


@pytest.mark.parametrize(
    ("relay", "expected"),
    [
        pytest.param(Relay("a"), READY, id="one that serves is ready"),
        pytest.param(Relay("a", serves=False), OUT, id="one that does not serve gets nothing"),
        pytest.param(Relay("a", leaving=True), LAST, id="one that leaves serves on while nobody else does"),
        pytest.param(Relay("a", leaving=True, serves=False), OUT, id="one that has left gets nothing"),
        pytest.param(Relay("a", level=Level.SOFT), LAST, id="a soft cordon leaves it as the last resort"),
        pytest.param(Relay("a", level=Level.HARD), OUT, id="a hard cordon takes it out"),
        pytest.param(Relay("a", level=Level.HARD, leaving=True), OUT, id="a hard cordon holds while it leaves"),
    ],
)
def test_a_relay_beside_one_that_is_well(relay: Relay, expected: Condition) -> None:
    assert {each.relay: each.condition for each in shares([relay, WELL])} == {"a": expected, "well": READY}


@pytest.mark.parametrize(
    ("relays", "expected"),
    [
        pytest.param([], {}, id="no relays, nobody listed"),
        pytest.param(
            [Relay("a", level=Level.HARD), Relay("b", level=Level.HARD)],
            {"a": LAST, "b": LAST},
            id="all under a hard cordon: marks are ignored",
        ),
        pytest.param(
            [Relay("a", level=Level.HARD), Relay("b", level=Level.SOFT)],
            {"a": OUT, "b": LAST},
            id="a soft one is left: the hard cordon holds",
        ),
        pytest.param(
            [Relay("a", level=Level.HARD), Relay("b", serves=False)],
            {"a": LAST, "b": OUT},
            id="only a hard one serves: it is better than one that does not",
        ),
        pytest.param(
            [Relay("a", serves=False), Relay("b", serves=False)],
            {"a": LAST, "b": LAST},
            id="all probes fail: the probes may be wrong",
        ),
        pytest.param(
            [Relay("a", serves=False), Relay("b", serves=False, leaving=True)],
            {"a": LAST, "b": OUT},
            id="all probes fail: one that leaves is really gone",
        ),
    ],
)
def test_when_nobody_is_well(relays: list[Relay], expected: dict[str, Condition]) -> None:
    assert {each.relay: each.condition for each in shares(relays)} == expected


def test_no_pool_with_a_staying_relay_is_ever_left_without_traffic() -> None:
    kinds = [
        Relay("?", serves=serves, leaving=leaving, level=level)
        for serves, leaving, level in itertools.product((True, False), (True, False), Level)
    ]
    for three in itertools.combinations_with_replacement(kinds, 3):
        relays = [
            Relay(name, serves=each.serves, leaving=each.leaving, level=each.level)
            for name, each in zip("abc", three, strict=True)
        ]
        if any(not relay.leaving or relay.serves for relay in relays):
            assert any(each.condition is not OUT for each in shares(relays)), relays


def test_a_worse_relay_goes_first_when_the_pool_shrinks() -> None:
    costs = [deletion_cost(level) or 0 for level in (Level.HARD, Level.SOFT, Level.ACTIVE)]
    assert costs == sorted(set(costs))
