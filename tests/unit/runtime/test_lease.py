"""The lease: never two holders that write, whatever their clocks and the API server do."""

from __future__ import annotations

import asyncio
import copy
import threading
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeConflict, KubeUnavailable, NotLeader
from relayfleet.runtime.aside import Aside
from relayfleet.runtime.lease import DURATION, MARGIN, Lease


class Server:
    """One Lease at an API server that compares and swaps; it can be cut off, for all or for one candidate."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.down = False
        self.asked = 0
        self.written = threading.Semaphore(0)
        self.born = "2026-11-24T12:00:00Z"

    def _answer(self) -> None:
        if self.down:
            raise KubeUnavailable("no answer")

    async def get(self, *_: Any) -> Object | None:
        self._answer()
        self.asked += 1
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
        self.written.release()
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


async def test_an_answer_that_came_late_is_as_new_as_its_coming() -> None:
    """The holder may have renewed just before it."""
    server, clock = Server(), Clock()
    first, second = candidate(server, "a", clock), candidate(server, "b", clock)
    assert await first._attempt()
    get = server.get

    async def late(*_: Any) -> Object | None:
        clock.now += 2.6
        assert await first._attempt()
        return await get()

    server.get = late  # type: ignore[method-assign]
    assert not await second._attempt()
    server.get = get  # type: ignore[method-assign]
    clock.now += DURATION - 2.6
    assert first.held
    assert not await second._attempt()


async def test_who_gets_a_lease_back_that_another_had_does_not_go_on_under_the_old_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one has greeted probers and relays, and released it."""
    server, clock = Server(), Clock()
    first, second = candidate(server, "a", clock), candidate(server, "b", clock)
    await first.acquire()
    assert not await second._attempt()
    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        clock.now += DURATION if looks == 1 else 1
        first.beat()
        if looks == 1:
            assert await second._attempt()
            await second.release()
        assert looks < 5, "it goes on"

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await first.keep()


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


async def test_a_holder_renews_without_asking_until_somebody_else_has_written() -> None:
    server, clock = Server(), Clock()
    first = candidate(server, "a", clock)
    assert await first._attempt()
    asked = server.asked
    clock.now += 1
    assert await first._attempt()
    assert server.asked == asked
    assert server.lease is not None
    server.lease["metadata"]["labels"] = {"team": "mail"}
    server._store(server.lease)
    clock.now += 1
    assert await first._attempt()
    assert server.lease["metadata"]["labels"] == {"team": "mail"}
    assert first.held


async def test_a_write_without_an_answer_makes_it_ask() -> None:
    server, clock = Server(), Clock()
    first, second = candidate(server, "a", clock), candidate(server, "b", clock)
    assert await first._attempt()
    server.down = True
    assert not await first._attempt()
    server.down = False
    assert not await second._attempt()
    clock.now += DURATION
    assert await second._attempt()
    assert not await first._attempt()
    assert first._taken


def test_work_that_holds_the_loop_up_costs_no_lease() -> None:
    server = Server()

    async def work() -> list[bool]:
        aside = Aside("lease")
        first = Lease(cast("Kube", server), "system", "relayfleet", "a")
        await aside.run(first.acquire())
        keeping = asyncio.create_task(aside.run(first.keep()))
        await asyncio.sleep(0)
        written = []
        for _ in range(4):  # the one that acquires it, and three that renew it
            first.beat()
            written.append(server.written.acquire(timeout=60))  # this loop stands still meanwhile
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        aside.stop()
        return written

    assert all(asyncio.run(work()))


async def kept(monkeypatch: pytest.MonkeyPatch, looks: list[tuple[float, bool]]) -> bool:
    """Whether a holder still renews after these looks: seconds before each, and whether there was a beat."""
    server, clock = Server(), Clock()
    first = candidate(server, "a", clock)
    await first.acquire()
    steps = iter(looks)

    async def sleep(_: float) -> None:
        pause, beats = next(steps, (None, False))
        if pause is None:
            raise EOFError
        clock.now += pause
        if beats:
            first.beat()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    try:
        await first.keep()
    except EOFError:
        return True
    finally:
        monkeypatch.undo()
    return False


@pytest.mark.parametrize(
    ("looks", "keeps"),
    [
        pytest.param([(1.0, True)] * 20, True, id="work goes on"),
        pytest.param([(1.0, False)] * 6, True, id="work is held up"),
        pytest.param([(1.0, False)] * 8, False, id="work is stuck"),
        pytest.param([(1.0, False), (1.0, False), (1.0, False), (1.0, True)] * 5, True, id="work is slow"),
        pytest.param([(60.0, False), (1.0, True)], True, id="the process stood still"),
        pytest.param([(60.0, False), *[(1.0, False)] * 8], False, id="and its work does not go on"),
    ],
)
async def test_a_leader_whose_work_is_stuck_leaves_the_lease_to_others(
    monkeypatch: pytest.MonkeyPatch, looks: list[tuple[float, bool]], keeps: bool
) -> None:
    assert await kept(monkeypatch, looks) is keeps


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
