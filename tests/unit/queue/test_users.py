"""What becomes of the relays' users at the brokers."""

from __future__ import annotations

import pytest

from relayfleet.decide.pool.fencing import Access
from relayfleet.decide.queue.users import Plan, plan

GRANT, FENCE, AS_IS = Access.GRANT, Access.FENCE, Access.AS_IS
RIGHT, WRONG = {"a": True}, {"a": False}

CASES = {
    "a new pod gets a user": ({}, {"a": GRANT}, Plan(grant=("a",))),
    "one that is right stays": (RIGHT, {"a": GRANT}, Plan()),
    "one with another password, or without rights, is set right": (WRONG, {"a": GRANT}, Plan(grant=("a",))),
    "a user that the brokers lost is made again": ({}, {"a": GRANT}, Plan(grant=("a",))),
    "a fenced relay's user goes": (RIGHT, {"a": FENCE}, Plan(remove=("a",))),
    "a fenced relay gets none": ({}, {"a": FENCE}, Plan()),
    "a new leader gives back nothing that it does not understand": ({}, {"a": AS_IS}, Plan()),
    "nor takes it away": (RIGHT, {"a": AS_IS}, Plan()),
    "but a new password reaches all that have a user": (WRONG, {"a": AS_IS}, Plan(grant=("a",))),
    "of a relay that nothing is said of": (RIGHT, {}, Plan()),
}


@pytest.mark.parametrize(("users", "wanted", "expected"), CASES.values(), ids=CASES)
def test_a_relay_that_has_a_pod(users: dict[str, bool], wanted: dict[str, Access], expected: Plan) -> None:
    assert plan(users, {"a"}, wanted) == expected


@pytest.mark.parametrize("wanted", [{}, {"a": GRANT}, {"a": AS_IS}, {"a": FENCE}])
def test_a_user_whose_pod_is_gone_goes(wanted: dict[str, Access]) -> None:
    assert plan({"a": True, "b": True}, {"b"}, wanted | {"b": GRANT}) == Plan(remove=("a",))
