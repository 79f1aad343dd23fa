"""One mode of kube-proxy, measured inside a network namespace of its own. Arguments: mode, connections, folder. Prints one JSON object.

Connections by the first weights; then weights change under a steady stream; then connections by the second weights.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvloop

from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.relays import Relay
from tests.bench._apiserver import LOOPBACK, POLL, api_server, operators_client
from tests.bench._weights_orders import FAMILY, PORT, Orders, wanted
from tests.bench._weights_proxy import SCOUT, SERVICES, add_node, kube_proxy, lay_out, relay_address
from tests.bench._weights_traffic import Arrivals, connections, listening
from tests.testbed.shell import TestbedError

WEIGHTS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Quarters of each relay; one of each weight leaves below, the full one by weight, two by a cordon."""

SETTLE = 4.0
"""Seconds after a write until kube-proxy has surely followed: its minSyncPeriod is 1 s, and a change may need two syncs."""

OPEN_SECONDS, ANSWER_SECONDS = 30.0, 0.5


@dataclass(frozen=True, slots=True)
class Bench:
    """What all steps need; `target` is the Service."""

    orders: Orders
    arrivals: Arrivals
    target: tuple[str, int]
    count: int


def fleet() -> list[Relay]:
    """The relays as they are at first, all active."""
    return [
        Relay(f"weights-{number}", {FAMILY: relay_address(number)}, weight=weight)
        for number, weight in enumerate(WEIGHTS)
    ]


def changed(relays: Sequence[Relay]) -> list[Relay]:
    """The same, with one relay at weight 0, one under a soft cordon and one under a hard one."""
    after = list(relays)
    after[-1] = replace(after[-1], weight=0)
    after[WEIGHTS.index(3)] = replace(after[WEIGHTS.index(3)], level=Level.SOFT)
    after[WEIGHTS.index(2)] = replace(after[WEIGHTS.index(2)], level=Level.HARD)
    return after


async def main(mode: str, count: int, folder: Path) -> None:
    relays = fleet()
    addresses = [each.addresses[FAMILY] for each in relays]
    lay_out(addresses)
    async with (
        api_server(folder, LOOPBACK, SERVICES) as server,
        operators_client(server.kubeconfig("bench")) as kube,
        listening(addresses) as arrivals,
    ):
        await add_node(kube)
        orders = Orders(kube)
        bench = Bench(orders, arrivals, (await orders.serve(), PORT), count)
        await orders.write(relays)
        async with kube_proxy(server.kubeconfig("proxy"), mode, folder):
            print(json.dumps(await measured(bench, relays)), flush=True)


async def measured(bench: Bench, relays: Sequence[Relay]) -> dict[str, Any]:
    """Both halves and the change between them."""
    await _open(bench.target)
    await asyncio.sleep(SETTLE)
    before = await half(bench, wanted(relays))
    after = changed(relays)
    changing = await change(bench, wanted(relays), after)
    return {"before": before, "change": changing, "after": await half(bench, wanted(after))}


async def half(bench: Bench, shares: dict[str, float]) -> dict[str, Any]:
    """As many connections as asked for, and where they arrived."""
    began, since, left = time.monotonic(), len(bench.arrivals.log), iter(range(bench.count))
    failed = await connections(bench.target, lambda: next(left, None) is not None)
    counts = bench.arrivals.counts(since)
    relays = [{"address": each, "wanted": share, "accepted": counts[each]} for each, share in shares.items()]
    return {"relays": relays, "failed": failed, "seconds": round(time.monotonic() - began, 2)}


async def change(bench: Bench, shares: dict[str, float], after: Sequence[Relay]) -> dict[str, Any]:
    """Change weights under a steady stream: seconds from the first write to the last connection of a relay that should get none."""
    out = [each for each, share in wanted(after).items() if shares[each] and not share]
    since, until = len(bench.arrivals.log), time.monotonic() + 2 * SETTLE
    stream = asyncio.create_task(connections(bench.target, lambda: time.monotonic() < until))
    await asyncio.sleep(
        SETTLE
    )  # the stream is steady, and kube-proxy has been idle for longer than it waits between syncs
    began = time.monotonic()
    await bench.orders.write(after)
    written = round(time.monotonic() - began, 3)
    numbers = {"written": written, "failed": await stream, "connections": len(bench.arrivals.log) - since}
    return {"seconds": max((bench.arrivals.last(out) or began) - began, 0.0), "relays": out, **numbers}


async def _open(target: tuple[str, int]) -> None:
    """Wait until the Service answers at all."""
    until = time.monotonic() + OPEN_SECONDS
    while time.monotonic() < until:
        if await _answers(target):
            return
        await asyncio.sleep(POLL)
    raise TestbedError("kube-proxy runs, and no connection to the Service's address arrives anywhere")


async def _answers(target: tuple[str, int]) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(*target, local_addr=(SCOUT, 0))
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


async def unless_left(work: Coroutine[None, None, None]) -> None:
    """Do the work; give up when stdin ends, for then whoever started this is gone."""
    working = asyncio.create_task(work)
    threading.Thread(target=_when_left, args=(asyncio.get_running_loop(), working.cancel), daemon=True).start()
    await working


def _when_left(loop: asyncio.AbstractEventLoop, then: Callable[[], object]) -> None:
    os.read(sys.stdin.fileno(), 1)
    with suppress(RuntimeError):  # the loop is closed: all is done
        loop.call_soon_threadsafe(then)


if __name__ == "__main__":
    try:
        uvloop.run(unless_left(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
    except TestbedError as problem:
        sys.exit(str(problem))
