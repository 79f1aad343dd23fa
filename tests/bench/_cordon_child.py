"""Small programs of the benchmark that run beside it in another network namespace, and talk in lines."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_SECONDS = 20.0


class Child:
    """A running program. `on_line` gets every line that is no answer to `ask`."""

    def __init__(self, process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
        self._process, self._on_line = process, on_line
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self.answers_when: Callable[[str], bool] = lambda _: True

    async def read(self) -> None:
        """Until the program ends."""
        assert self._process.stdout
        async for raw in self._process.stdout:
            line = raw.decode().strip()
            if self.answers_when(line):
                self._answers.put_nowait(line)
            else:
                self._on_line(line)

    def say(self, line: str) -> None:
        """Without waiting for an answer."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())

    async def answer(self, seconds: float = START_SECONDS) -> str:
        """The next answer."""
        async with asyncio.timeout(seconds):
            return await self._answers.get()


@asynccontextmanager
async def inside(
    process: int, script: str, *arguments: str, on_line: Callable[[str], None], answers: tuple[str, ...] = ()
) -> AsyncIterator[Child]:
    """A script of this folder in the network of a process of this machine; its first line says that it is up.

    `answers`: beginnings of the lines that are answers; empty: all are.
    """
    started = await asyncio.create_subprocess_exec(
        "nsenter", f"--net=/proc/{process}/ns/net", sys.executable, str(HERE / script), *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    child = Child(started, on_line)
    if answers:
        child.answers_when = lambda line: line.startswith(answers)
    reading = asyncio.create_task(child.read())
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            started.kill()
        await started.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
