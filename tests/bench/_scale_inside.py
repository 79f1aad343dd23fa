"""The scale benchmark in namespaces of its own (network and processes): whatever it starts ends with it. Prints rows, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.bench import _scale_healing, _scale_net, _scale_size
from tests.bench._scale_operator import operator
from tests.bench._scale_size import Row
from tests.bench._scale_world import world
from tests.testbed.settings import ROOT

LOGS = ROOT / "build" / "bench" / "scale-logs"


async def main() -> None:
    _scale_net.lay()
    rest = float(os.environ.get("SCALE_REST", "60"))
    sizes = [int(each) for each in os.environ.get("SCALE_SIZES", "10,100,1000").split(",")]
    for size in sizes:
        for each in await _size(size, rest, healing=size == min(sizes)):
            print(json.dumps(each), flush=True)


async def _size(size: int, rest: float, *, healing: bool) -> list[Row]:
    print(f"scale: {size} relays", file=sys.stderr, flush=True)
    logs = LOGS / str(size)
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="relayfleet-scale-") as folder:
        async with world(size, Path(folder), logs) as around:
            async with operator(around.api, around.kubeconfig, logs) as first:
                found = await _scale_size.rows(around, first, rest)
            return [*found, *(await _scale_healing.rows(around) if healing else [])]


if __name__ == "__main__":
    asyncio.run(main())
