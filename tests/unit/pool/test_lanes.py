"""When a pool's mail goes to provider lanes: by all of these at once, and never while a relay might be the only one that does not look there."""

from __future__ import annotations

import itertools

import pytest

from relayfleet.decide.pool.lanes import used

WORDS = [(), (False,), (True,), (True, False), (True, True)]


@pytest.mark.parametrize(("begun", "first", "take"), list(itertools.product([False, True], [False, True], WORDS)))
def test_nobody_uses_what_was_not_asked_for(begun: bool, first: bool, take: tuple[bool, ...]) -> None:
    assert not used(wanted=False, begun=begun, first=first, take=take)


@pytest.mark.parametrize("take", WORDS)
def test_a_pool_begins_when_all_relays_take_from_lanes_and_one_that_comes_later_does_not_end_it(
    take: tuple[bool, ...],
) -> None:
    assert used(wanted=True, begun=False, first=False, take=take) is (bool(take) and all(take))
    assert used(wanted=True, begun=True, first=False, take=take)


def test_a_pool_that_never_had_a_relay_begins_with_its_first_mail() -> None:
    assert used(wanted=True, begun=False, first=True, take=())
