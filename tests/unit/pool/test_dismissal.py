"""Who is told to turn work away, and that never everybody is."""

from __future__ import annotations

import itertools

import pytest

from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.dismissal import dismissed
from relayfleet.decide.pool.listing import shares
from relayfleet.decide.pool.relays import Relay
from relayfleet.decide.weights import Condition

CASES = {
    "one in traffic serves": (Relay("a"), False),
    "one that does not answer is not told to leave for that": (Relay("a", serves=False), False),
    "a soft cordon leaves it as the last resort": (Relay("a", level=Level.SOFT), False),
    "a hard cordon ends its sessions": (Relay("a", level=Level.HARD), True),
    "a hard cordon ends them also when its probes fail": (Relay("a", level=Level.HARD, serves=False), True),
    "one that is being deleted drains by itself": (Relay("a", level=Level.HARD, leaving=True), False),
}


@pytest.mark.parametrize(("relay", "leaves"), CASES.values(), ids=CASES)
def test_a_relay_beside_one_that_is_well(relay: Relay, leaves: bool) -> None:
    assert dismissed([relay, Relay("well")]) == ({"a"} if leaves else set())


def test_when_all_are_under_a_hard_cordon_those_that_are_listed_serve() -> None:
    assert dismissed([Relay("a", level=Level.HARD), Relay("b", level=Level.HARD)]) == set()
    beside_a_soft_one = [Relay("a", level=Level.HARD), Relay("b", level=Level.SOFT)]
    assert dismissed(beside_a_soft_one) == {"a"}


def test_no_relay_that_is_listed_is_ever_dismissed() -> None:
    kinds = list(itertools.product([True, False], [True, False], Level))
    for chosen in itertools.combinations_with_replacement(kinds, 3):
        relays = [
            Relay(name, serves=serves, leaving=leaving, level=level)
            for name, (serves, leaving, level) in zip("abc", chosen, strict=True)
        ]
        listed = {each.relay for each in shares(relays) if each.condition is not Condition.OUT}
        assert not dismissed(relays) & listed
