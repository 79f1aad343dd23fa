"""Runs benchmarks: `python -m tests.bench [name]`. One JSON object a line, to the screen and to build/bench/<name>.jsonl.

A benchmark is a module with `run()`, which returns all rows, or yields each as it is measured. SIGTERM and SIGINT cancel it, so that it can end
what it started.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent.parent / "build" / "bench"


def main() -> int:
    names = sorted(path.stem.replace("_", "-") for path in HERE.glob("[!_]*.py"))
    chosen = sys.argv[1:] or names
    if unknown := set(chosen) - set(names):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        print(f"== {name}", file=sys.stderr, flush=True)
        run = importlib.import_module(f"tests.bench.{name.replace('-', '_')}").run
        if ended_by := asyncio.run(unless_signalled(written(run, RESULTS / f"{name}.jsonl"))):
            print(f"== {name} was ended by {ended_by.name}", file=sys.stderr, flush=True)
            return 128 + ended_by
    return 0


async def unless_signalled(work: Coroutine[Any, Any, None]) -> signal.Signals | None:
    """Do the work, or cancel it at the first signal and return that once all is cleaned up. A second SIGTERM changes nothing, since some send it to
    a process and to its group; a second SIGINT ends without cleaning up."""
    loop, came, task = asyncio.get_running_loop(), list[signal.Signals](), asyncio.ensure_future(work)

    def end(number: signal.Signals) -> None:
        if not came:
            task.cancel()
        came.append(number)
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not came:
            raise
    return came[0] if came else None


async def written(run: Callable[[], Any], place: Path) -> None:
    """Print and store the rows, each as it comes. The file has those of one run only."""
    lines: list[str] = []
    async with aclosing(_rows(run)) as rows:
        async for row in rows:
            lines.append(json.dumps(row))
            place.write_text("".join(f"{line}\n" for line in lines))
            print(lines[-1], flush=True)


async def _rows(run: Callable[[], Any]) -> AsyncGenerator[dict[str, Any]]:
    found = run()
    if not isinstance(found, AsyncGenerator):
        for row in await found:
            yield row
        return
    async with aclosing(found):
        async for row in found:
            yield row


if __name__ == "__main__":
    sys.exit(main())
