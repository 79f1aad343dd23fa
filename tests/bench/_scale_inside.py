"""One job of the scale benchmark in namespaces of its own (network and processes): whatever it starts ends with it. Prints rows, one JSON
object a line, and a JSON string that says why others are missing. It ends at once when its standard input does: nobody reads them any more.

Arguments: a number of relays or a name of `_scale_plan.HEALED`; folder for files; when it has to be over, seconds of rest, when the benchmark
began (times by CLOCK_MONOTONIC).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from tests.bench import _scale_healing, _scale_net, _scale_size
from tests.bench._scale_operator import operator
from tests.bench._scale_plan import HEALED, Row, ShortError
from tests.bench._scale_say import Say
from tests.bench._scale_world import world
from tests.testbed.settings import ROOT

LOGS = ROOT / "build" / "bench" / "scale-logs"


async def main(job: str, folder: Path, until: float, rest: float, say: Say) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin, _heard)
    _scale_net.lay()
    logs = LOGS / job
    logs.mkdir(parents=True, exist_ok=True)
    rows = _healing(job, folder, until, logs, say) if job in HEALED else _size(int(job), folder, until, rest, logs, say)
    try:
        async with aclosing(rows):
            async for row in rows:
                print(json.dumps(row), flush=True)
                say(f"{row['name']} is {row['value']} {row['unit']}")
    except ShortError as why:
        print(json.dumps(str(why)), flush=True)


def _heard() -> None:
    if not os.read(sys.stdin.fileno(), 1):
        os._exit(1)  # the first process of its namespace: the kernel ends all others


async def _size(size: int, folder: Path, until: float, rest: float, logs: Path, say: Say) -> AsyncGenerator[Row]:
    async with world(size, folder, logs, say) as around, operator(around.api, around.kubeconfig, logs) as first:
        async for row in _scale_size.rows(around, first, until, rest, say):
            yield row


async def _healing(job: str, folder: Path, until: float, logs: Path, say: Say) -> AsyncGenerator[Row]:
    async with world(_scale_healing.RELAYS, folder, logs, say) as around:
        for row in await _scale_healing.rows(job, around, until, say):
            yield row


if __name__ == "__main__":
    name, where, *times = sys.argv[1:]
    over, resting, begun = map(float, times)
    asyncio.run(main(name, Path(where), over, resting, Say(begun, name)))
