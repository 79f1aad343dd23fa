"""Whose user is taken away at the brokers, and that nobody's is who may still work."""

from __future__ import annotations

import itertools

import pytest

from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.fencing import HEARD, LISTENED, Access, Witness, access
from relayfleet.decide.pool.listing import shares
from relayfleet.decide.pool.relays import Relay
from relayfleet.decide.weights import Condition

GRANT, FENCE, AS_IS = Access.GRANT, Access.FENCE, Access.AS_IS
OUT = Relay("a", level=Level.HARD)
FROZEN = Witness(hard=True, silence=3.0)

CASES = {
    "one that starts has its user": (Relay("a", serves=False), None, GRANT),
    "one in traffic": (Relay("a"), Witness(hard=False, silence=0.1), GRANT),
    "a silent one under a soft cordon keeps it: it is the last resort": (Relay("a", level=Level.SOFT), FROZEN, GRANT),
    "one that a person cordoned hard": (OUT, Witness(hard=False, silence=0.1), GRANT),
    "one that a person cordoned hard, and that has been silent for less than is final": (
        OUT,
        Witness(hard=False, silence=2.0),
        GRANT,
    ),
    "a frozen one is fenced": (OUT, FROZEN, FENCE),
    "also when its probes fail": (Relay("a", level=Level.HARD, serves=False), FROZEN, FENCE),
    "one that refuses clients but tells of itself leaves by itself": (OUT, Witness(hard=True, silence=HEARD), GRANT),
    "one that answers again gets its user back before its cordon ends": (OUT, Witness(hard=True, silence=0.0), GRANT),
    "a new leader that has heard nothing yet changes nothing": (OUT, Witness(True, 0.1, heard=False), AS_IS),
    "nor a little later": (OUT, Witness(True, LISTENED - 0.1, heard=False), AS_IS),
    "a leader that has listened for long enough fences": (OUT, Witness(True, LISTENED, heard=False), FENCE),
    "one that is being deleted drains as it is": (Relay("a", level=Level.HARD, leaving=True), FROZEN, AS_IS),
}


@pytest.mark.parametrize(("relay", "witness", "expected"), CASES.values(), ids=CASES)
def test_a_relay_beside_one_that_is_well(relay: Relay, witness: Witness | None, expected: Access) -> None:
    found = access([relay, Relay("well")], {"a": witness} if witness else {})
    assert found == {"a": expected, "well": GRANT}


def test_when_all_look_dead_those_that_are_listed_all_the_same_are_not_fenced() -> None:
    relays = [Relay("a", level=Level.HARD), Relay("b", level=Level.HARD)]
    assert access(relays, {"a": FROZEN, "b": FROZEN}) == {"a": GRANT, "b": GRANT}


def test_no_relay_that_is_listed_or_was_heard_is_ever_fenced() -> None:
    kinds = list(itertools.product([True, False], [True, False], Level))
    witnesses = [
        Witness(hard, silence, heard) for hard in (True, False) for silence in (0.0, 9.0) for heard in (True, False)
    ]
    for chosen in itertools.combinations_with_replacement(kinds, 2):
        relays = [
            Relay(name, serves=serves, leaving=leaving, level=level)
            for name, (serves, leaving, level) in zip("ab", chosen, strict=True)
        ]
        listed = {each.relay for each in shares(relays) if each.condition is not Condition.OUT}
        for pair in itertools.product(witnesses, repeat=2):
            known = dict(zip("ab", pair, strict=True))
            fenced = {name for name, what in access(relays, known).items() if what is FENCE}
            assert not fenced & listed
            assert all(known[each].silence > HEARD and known[each].hard for each in fenced)
