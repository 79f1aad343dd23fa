"""The lease: never two holders that write, whatever their clocks and the API server do."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeConflict, KubeUnavailable, NotLeader
from relayfleet.runtime.lease import DURATION, MARGIN, Lease


class Server:
    """One Lease at an API server that compares and swaps; it can be cut off, for all or for one candidate."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.down = False
        self.born = "2026-11-24T12:00:00Z"

    def _answer(self) -> None:
        if self.down:
            raise KubeUnavailable("no answer")

    async def get(self, *_: Any) -> Object | None:
        self._answer()
        return copy.deepcopy(self.lease)

    async def create(self, lease: Object) -> Object:
        self._answer()
        if self.lease:
            raise KubeConflict("exists")
        return self._store(lease)

    async def replace(self, lease: Object) -> Object:
        self._answer()
        if not self.lease or lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise KubeConflict("changed")
        return self._store(lease)

    def _store(self, lease: Object) -> Object:
        self.version += 1
        self.lease = copy.deepcopy(lease)
        age = {"creationTimestamp": lease["metadata"].get("creationTimestamp", self.born)}
        self.lease["metadata"] = lease["metadata"] | age | {"resourceVersion": str(self.version)}
        return copy.deepcopy(self.lease)


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def candidate(server: Server, name: str, clock: Clock) -> Lease:
    return Lease(cast("Kube", server), "system", "relayfleet", name, clock)


async def test_the_first_gets_it_and_the_second_waits() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, "a", clock), candidate(server, "b", clock)
    assert await first._attempt()
    assert not await second._attempt()
    first.check()
    with pytest.raises(NotLeader, match="b does not surely hold"):
        second.check()


async def test_a_lease_that_stood_still_for_its_duration_is_taken_and_the_epoch_rises() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, "a", clock), candidate(server, "b", clock)
    assert await first._attempt()
    assert not await second._attempt()
    clock.now += DURATION
    assert await second._attempt()
    assert second.epoch == first.epoch + 1
    assert not first.held


async def test_the_holder_writes_nothing_from_before_the_moment_that_another_could_take_it() -> None:
    server, clock = Server(), Clock()
    first = candidate(server, "a", clock)
    assert await first._attempt()
    clock.now += DURATION - MARGIN
    with pytest.raises(NotLeader):
        first.check()


async def test_a_released_lease_is_taken_at_once() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, "a", clock), candidate(server, "b", clock)
    assert await first._attempt()
    await first.release()
    assert await second._attempt()
    assert not first.held


async def test_an_api_server_that_was_gone_for_a_while_leaves_the_leader_where_it_was() -> None:
    server, clock = Server(), Clock()
    first = candidate(server, "a", clock)
    assert await first._attempt()
    server.down = True
    clock.now += 100
    assert not await first._attempt()
    assert not first.held
    server.down = False
    assert await first._attempt()
    assert first.held


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 4), st.booleans()), max_size=80),
    st.dictionaries(st.sampled_from("abc"), st.floats(-1e6, 1e6), max_size=3),
)
async def test_there_are_never_two_that_may_write(
    steps: list[tuple[str, float, bool]], offsets: dict[str, float]
) -> None:
    """Candidates whose clocks differ, and are cut off at random, try in any order; at each moment at most one passes its fence."""
    server = Server()
    clocks = {name: Clock() for name in "abc"}
    for name, offset in offsets.items():
        clocks[name].now += offset
    candidates = {name: candidate(server, name, clocks[name]) for name in "abc"}
    for name, pause, down in steps:
        for clock in clocks.values():
            clock.now += pause
        server.down = down
        await candidates[name]._attempt()
        assert sum(each.held for each in candidates.values()) <= 1


async def test_a_lease_that_was_deleted_and_made_anew_has_a_higher_epoch() -> None:
    server, clock = Server(), Clock()
    first = Lease(cast("Kube", server), "ns", "lease", "a", clock)
    for _ in range(3):
        assert await first._attempt()
        await first.release()
    before = first.epoch
    server.lease, server.born = None, "2026-11-24T12:00:01Z"
    second = Lease(cast("Kube", server), "ns", "lease", "b", clock)
    assert await second._attempt()
    assert second.epoch > before
