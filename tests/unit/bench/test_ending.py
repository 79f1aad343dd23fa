"""Benchmarks that are ended: rows are there as soon as they are measured, a signal lets clean up, and no child is left."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bench.__main__ import unless_signalled, written
from tests.bench._scale_cage import child

LONG = 30.0
"""Seconds, on a machine that has other things to do."""


async def test_a_row_is_stored_before_the_next_one_is_measured(tmp_path: Path) -> None:
    place = tmp_path / "rows.jsonl"
    stored: list[list[dict[str, Any]]] = []

    async def measured() -> AsyncGenerator[dict[str, Any]]:
        for number in range(3):
            yield {"name": f"row {number}"}
            stored.append([json.loads(line) for line in place.read_text().splitlines()])

    await written(measured, place)
    assert [len(each) for each in stored] == [1, 2, 3]
    assert stored[-1][-1] == {"name": "row 2"}


async def test_rows_that_come_together_replace_those_of_another_run(tmp_path: Path) -> None:
    place = tmp_path / "rows.jsonl"
    place.write_text('{"name": "of yesterday"}\n' * 5)

    async def measured() -> list[dict[str, Any]]:
        return [{"name": "one"}, {"name": "two"}]

    await written(measured, place)
    assert [json.loads(line)["name"] for line in place.read_text().splitlines()] == ["one", "two"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_clean_up_and_is_told(number: signal.Signals) -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(0)
            done.append("cleaned up")

    with handlers():
        assert await unless_signalled(work()) is number
    assert done == ["cleaned up"]


async def test_a_second_sigterm_disturbs_no_cleaning_up() -> None:
    """Some send it to a process and to its group."""
    done: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(LONG)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(10):
                await asyncio.sleep(0.01)  # the loop handles the signal in one of these turns
            done.append("cleaned up")

    with handlers():
        assert await unless_signalled(work()) is signal.SIGTERM
    assert done == ["cleaned up"]


async def test_work_that_ends_by_itself_was_ended_by_no_signal() -> None:
    with handlers():
        assert await unless_signalled(asyncio.sleep(0)) is None


async def test_a_childs_children_end_with_it() -> None:
    async with child("sh", "-c", "sleep 600 & echo $!; wait") as process:
        assert process.stdout
        grandchild = os.pidfd_open(int(await process.stdout.readline()))
        assert not select.select([grandchild], [], [], 0)[0]
    try:
        assert select.select([grandchild], [], [], LONG)[0], "it has not ended"
    finally:
        os.close(grandchild)


async def test_a_child_that_has_ended_already_is_no_error() -> None:
    async with child("true") as process:
        await process.wait()
    assert process.returncode == 0


@contextmanager
def handlers() -> Iterator[None]:
    """Those of the test runner come back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        loop = asyncio.get_running_loop()
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
