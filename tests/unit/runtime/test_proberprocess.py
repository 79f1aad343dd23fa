"""The operator's prober ends with it, and is no zombie of an operator that begins anew."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from relayfleet.runtime import proberprocess
from relayfleet.runtime.control import Identity


class Process:
    """Runs until it is killed. `status` is asked for: `reaped`."""

    def __init__(self) -> None:
        self.killed = asyncio.Event()
        self.reaped = False

    def kill(self) -> None:
        if self.killed.is_set():
            raise ProcessLookupError
        self.killed.set()

    async def wait(self) -> int:
        await self.killed.wait()
        self.reaped = True
        return -9


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[Process]:
    processes: asyncio.Queue[Process] = asyncio.Queue()

    async def start(*_: str) -> Process:
        processes.put_nowait(process := Process())
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    monkeypatch.setattr(proberprocess, "_AGAIN", 0.0)
    return processes


async def keeping() -> asyncio.Task[None]:
    known = asyncio.get_running_loop().create_future()
    known.set_result(cast("Identity", SimpleNamespace(certificate=Path("c"), key=Path("k"), authority=Path("a"))))
    return asyncio.create_task(proberprocess.keep(cast("Any", known)))


async def test_a_prober_that_is_no_longer_wanted_is_killed_and_waited_for(started: asyncio.Queue[Process]) -> None:
    kept = await keeping()
    process = await started.get()
    kept.cancel()
    await asyncio.gather(kept, return_exceptions=True)
    assert kept.cancelled()
    assert process.killed.is_set()
    assert process.reaped


async def test_a_prober_that_ends_is_started_again(started: asyncio.Queue[Process]) -> None:
    kept = await keeping()
    (await started.get()).kill()
    process = await started.get()
    assert not process.killed.is_set()
    kept.cancel()
    await asyncio.gather(kept, return_exceptions=True)
