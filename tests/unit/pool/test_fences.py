"""What a pool says of fencing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relayfleet.api.conditions import Reason, Type
from relayfleet.decide.pool.facts import Fencing, Pod, Pool, Queue, Sources
from relayfleet.decide.pool.fences import statement
from relayfleet.decide.pool.statements import statements

WELL = Pool("eu", 3, Queue("mail"), Sources(("eu-1",)), (Pod("a", listed=True, serves=True),))

CASES = {
    "all can be cut off": (Fencing(), "True", "a relay that does not answer is cut off from the brokers"),
    "one is": (Fencing(cut=("b",)), "True", "; relay b is now"),
    "several are": (Fencing(cut=("b", "a")), "True", "; relays a, b are now"),
    "somebody else's brokers": (
        Fencing(managed=False, shared=("a",)),
        "False",
        "QueueCluster mail are not the operator's",
    ),
    "older pods": (Fencing(shared=("a",)), "False", "relay a share a broker user, since an older operator made them"),
    "many older pods": (Fencing(shared=tuple("abcdefg")), "False", "relays a, b, c, d, e and 2 more share"),
    "brokers that do not answer": (Fencing(why_not="no answer in time", shared=("a",)), "False", ": no answer in time"),
}


@pytest.mark.parametrize(("fencing", "status", "words"), CASES.values(), ids=CASES)
def test_the_condition(fencing: Fencing, status: str, words: str) -> None:
    said = statement(replace(WELL, fencing=fencing))
    assert said is not None
    assert (said.type, said.status, words in said.message) == (Type.FENCING, status, True), said
    assert Reason(said.reason) is (Reason.AVAILABLE if status == "True" else Reason.UNAVAILABLE)
    assert said in statements(replace(WELL, fencing=fencing))


def test_without_a_queue_nothing_is_said() -> None:
    assert statement(replace(WELL, queue=Queue("mail", found=False))) is None
