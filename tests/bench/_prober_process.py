"""A prober of many targets, for a while, and what it used. Arguments: port, targets, interval, seconds. Prints one JSON object."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import Counter

import uvloop

from relayfleet.observe.probing.fleet import Fleet
from relayfleet.protocol.probing import Target

SETTLE = 10.0
"""Seconds until all sessions are open; not measured."""


async def main(port: int, targets: int, interval: float, seconds: float) -> None:
    kinds: Counter[str] = Counter()
    fleet = Fleet(lambda sighting: kinds.update((f"{sighting.kind} {sighting.probe}",)))
    fleet.watch(
        Target(f"mail/tx/{number}", "127.0.0.1", port, interval=interval, discard="w0rd@discard.relayfleet.invalid")
        for number in range(targets)
    )
    await asyncio.sleep(SETTLE)
    kinds.clear()
    began, used = time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    took, cpu = time.monotonic() - began, time.process_time() - used
    fleet.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"cores": cpu / took, "memory": memory, "seen": {kind: n / took for kind, n in kinds.items()}}))


if __name__ == "__main__":
    words = sys.argv[1:]
    uvloop.run(main(int(words[0]), int(words[1]), float(words[2]), float(words[3])))
