"""A process in Linux namespaces of its own, and with it all that it starts: when the first one ends, none of them is left.

`unshare` blocks SIGTERM and SIGINT while it waits for its child, so it is never asked to end. The first process of the new process namespace is
told by the end of its standard input, as it is when this process is killed (see `_scale_inside.py`), and killed if it does not listen. The kernel
then kills the others, and `unshare` ends when all of them are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

NAMESPACES = ("--net", "--pid", "--fork", "--kill-child", "--mount-proc")
TOLD, GONE = 2.0, 10.0
"""Seconds that the first process may take to end, and then the kernel to end them all."""


@asynccontextmanager
async def caged(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs while the block does; its standard input and output are pipes. The first process is the program of `words`."""
    root = () if os.geteuid() == 0 else ("--map-root-user",)
    async with child("unshare", *root, *NAMESPACES, *words) as process:
        try:
            yield process
        finally:
            await _end(process)


@asynccontextmanager
async def child(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process whose group is killed with the end of the block. The group is its own, so that who signals ours does not signal it: children that
    end before those who use them look like faults."""
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin
    process.stdin.close()
    if not await _ended(process, TOLD):
        for each in _children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        await _ended(process, GONE)


async def _ended(process: asyncio.subprocess.Process, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
    return process.returncode is not None


def _children(process: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:  # it has ended
        return []
