"""What it costs one prober to watch 10, 100 and 1,000 relays, four NOOPs and one envelope a second each: processor, memory, observations a second."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

INTERVAL = 0.25
SECONDS = 20.0
TARGETS = (10, 100, 1000)


async def run() -> list[dict[str, Any]]:
    """The rows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
    rows = []
    async with _target() as port:
        for targets in TARGETS:
            print(f"prober: {targets} targets for {SECONDS:g} s", file=sys.stderr, flush=True)
            rows += _rows(targets, await _measured(port, targets))
    return rows


def _rows(targets: int, found: dict[str, Any]) -> list[dict[str, Any]]:
    detail = {"interval": INTERVAL, "seen per second": found["seen"]}
    base = {"n": targets, "peer": None, "peer_value": None, "detail": detail}
    return [
        {"name": f"prober.{targets}.cores", "value": round(found["cores"], 4), "unit": "cores", **base},
        {"name": f"prober.{targets}.memory", "value": found["memory"], "unit": "bytes", **base},
    ]


async def _measured(port: int, targets: int) -> dict[str, Any]:
    words = ("-m", "tests.bench._prober_process", str(port), str(targets), str(INTERVAL), str(SECONDS))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the prober of {targets} targets ended with {process.returncode}")
    found: dict[str, Any] = json.loads(out)
    return found


@asynccontextmanager
async def _target() -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench._prober_target", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()
