"""The work queue: one worker a name, nothing lost, failures come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from relayfleet.kube.errors import KubeConflict, NotLeader
from relayfleet.runtime.workqueue import Key, Work, WorkQueue

KEY = Key("RelayPool", "mail", "a")


@asynccontextmanager
async def running(work: Work) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(work, workers=4)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - any condition, not one event
            await asyncio.sleep(0.001)


async def test_many_events_about_one_name_are_one_piece_of_work_and_one_more_for_those_that_came_meanwhile() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    runs = 0

    async def work(_: Key) -> None:
        nonlocal runs
        runs += 1
        began.set()
        await go_on.wait()

    async with running(work) as queue:
        queue.add(KEY)
        await began.wait()
        for _ in range(100):
            queue.add(KEY)
        go_on.set()
        await until(lambda: queue.done == 2)
        assert (runs, len(queue)) == (2, 0)


async def test_a_name_is_worked_on_by_one_worker_at_a_time_and_names_in_parallel() -> None:
    busy: list[Key] = []
    most, clashes = 0, 0

    async def work(key: Key) -> None:
        nonlocal most, clashes
        clashes += key in busy
        busy.append(key)
        most = max(most, len(busy))
        await asyncio.sleep(0.002)
        busy.remove(key)

    async with running(work) as queue:
        keys = [Key("RelayPool", "mail", str(number)) for number in range(3)]
        for _ in range(50):
            for key in keys:
                queue.add(key)
            await asyncio.sleep(0.0005)
        await until(lambda: len(queue) == 0)
        assert clashes == 0
        assert most > 1


async def test_a_failure_comes_back_by_itself() -> None:
    async def work(_: Key) -> None:
        if queue.failed < 2:
            raise KubeConflict("somebody else wrote first")

    async with running(work) as queue:
        queue.add(KEY)
        await until(lambda: queue.done == 1)
        assert queue.failed == 2


async def test_work_that_asks_for_it_is_called_again_without_an_event() -> None:
    async def work(_: Key) -> float:
        return 0.001

    async with running(work) as queue:
        queue.add(KEY)
        await until(lambda: queue.done >= 5)


async def test_an_error_about_one_name_does_not_stop_the_others() -> None:
    worked: set[str] = set()

    async def work(key: Key) -> None:
        worked.add(key.name)
        if key.name == "bad":
            raise RuntimeError("a bug")

    async with running(work) as queue:
        queue.add(Key("RelayPool", "mail", "bad"))
        queue.add(KEY)
        await until(lambda: worked >= {"bad", "a"})


async def test_work_without_the_lease_is_tried_again_soon_however_often_it_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("relayfleet.runtime.workqueue.NOT_LEADING", 0.001)
    tries = 0

    async def work(_: Key) -> None:
        nonlocal tries
        tries += 1
        if tries < 20:  # with backoff the last would be hours away
            raise NotLeader("a does not surely hold the lease")

    async with running(work) as queue:
        queue.add(KEY)
        await until(lambda: queue.done == 1)
        assert (tries, queue.failed) == (20, 19)
