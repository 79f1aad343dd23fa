"""What one operator costs, and how quick it is, with a fleet of one size."""

from __future__ import annotations

import asyncio
import math
import os
import random
import statistics
import time
from dataclasses import dataclass
from typing import Any

from tests.bench._scale_operator import Cost, Operator
from tests.bench._scale_world import World, calm

START, QUIET, UNREST = 600.0, 15.0, 300.0
"""Seconds: that a cold start may take; without a write after it until the fleet is at rest; until then at the most."""
TRIALS = 20
OUT, BACK, SETTLE = 30.0, 30.0, 2.0
"""Seconds until a relay is out, until its successor is in, and until that is probed like the others."""

_SEEN = "relayfleet_observations_total"
_SIMULATED = (
    "relays (one process for all) and their pods (objects only): no kubelets, no controllers; etcd without fsync"
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rest:
    """Processor in cores and writes a second, over some seconds in which nothing happened."""

    seconds: float
    cores: tuple[float, float]
    after: tuple[Cost, Cost]
    writes: dict[str, float]
    false_cordons: list[str]
    load: float
    answers: float
    led: bool


def row(name: str, value: float | None, unit: str, n: int, **detail: Any) -> Row:
    """As all benchmarks write them."""
    rounded = None if value is None else round(value, 4)
    return {"name": name, "value": rounded, "unit": unit, "n": n, "peer": None, "peer_value": None, "detail": detail}


async def rows(world: World, operator: Operator, rest: float) -> list[Row]:
    """All rows of this size; only the first when the fleet is never all there. The operator has just been started."""
    size = world.fleet.size
    ready = await _all_ready(world, operator)
    if ready is None:
        return [
            row(f"scale.{size}.cold_start", None, "s", 1, after=START, ready=world.ready(), load=os.getloadavg()[0])
        ]
    settled = await calm(world, QUIET, UNREST)
    found = await _rest(world, operator, rest)
    watched = await operator.metric("relayfleet_relays")
    outs = [await _trial(world) for _ in range(TRIALS)]
    return [
        row(
            f"scale.{size}.cold_start", ready, "s", 1, last_write_after_that=settled, lease="free", simulated=_SIMULATED
        ),
        *_at_rest(size, found, watched),
        _decisions(size, outs),
    ]


async def _all_ready(world: World, operator: Operator) -> float | None:
    while world.ready() < world.fleet.size:
        if time.monotonic() - operator.began > START:
            return None
        await asyncio.sleep(0.02)
    return world.seen.changes[-1][0] - operator.began


async def _rest(world: World, operator: Operator, seconds: float) -> Rest:
    world.seen.forget()
    before, place, answers = await operator.cost(), world.so_far(), await operator.metric(_SEEN, kind="Answered")
    began = time.monotonic()
    listed = {pool: world.seen.ready(pool) for pool in world.fleet.pools}
    await asyncio.sleep(seconds)
    took, after = time.monotonic() - began, await operator.cost()
    cores = [(each.cpu - was.cpu) / took for each, was in zip(after, before, strict=True)]
    writes = {what: count / took for what, count in world.writes(place).items()}
    out = [f"{pool} {address}" for pool, were in listed.items() for address in _left(world, pool, were)]
    answers = (await operator.metric(_SEEN, kind="Answered") - answers) / took
    led = bool(await operator.metric("relayfleet_operator_leader"))
    return Rest(took, (cores[0], cores[1]), after, writes, out, os.getloadavg()[0], answers, led)


def _left(world: World, pool: str, were: frozenset[str]) -> list[str]:
    """Relays that were taken out of traffic though nothing had happened to them, once for each time."""
    found: list[str] = []
    for _, name, ready in world.seen.changes:
        if name == pool:
            found += were - ready
            were = ready
    return found


def _at_rest(size: int, rest: Rest, watched: float) -> list[Row]:
    lease = sum(rate for what, rate in rest.writes.items() if what.endswith("leases"))
    told: dict[str, Any] = {"seconds": round(rest.seconds, 1), "load_average": rest.load, "relays_watched": watched}
    told |= {
        "simulated": _SIMULATED,
        "answers_per_second": round(rest.answers, 1),
        "held_the_lease_at_the_end": rest.led,
    }
    parts = ("operator", "prober")
    cores = {part: round(each, 4) for part, each in zip(parts, rest.cores, strict=True)}
    now = {part: round(each.memory, 1) for part, each in zip(parts, rest.after, strict=True)}
    most = {f"{part}_most": round(each.most, 1) for part, each in zip(parts, rest.after, strict=True)}
    writes = {what: round(rate, 4) for what, rate in rest.writes.items()}
    false = len(rest.false_cordons)
    return [
        row(f"scale.{size}.cpu", sum(rest.cores), "cores", size, **cores, **told),
        row(f"scale.{size}.memory", sum(each.memory for each in rest.after), "MiB", size, **now, **most),
        row(f"scale.{size}.writes", sum(rest.writes.values()) - lease, "writes/s", size, by_kind=writes, **told),
        row(
            f"scale.{size}.writes.lease", lease, "writes/s", size, meaning="renewals of the lease, not in the row above"
        ),
        row(f"scale.{size}.false_cordons", false, "cordons", size, relays=rest.false_cordons[:20], **told),
    ]


async def _trial(world: World) -> float | None:
    """Seconds from the reset of a relay's sessions until the slice that says so is seen, None: not in time. Then another pod takes its place."""
    name, (pool, address) = random.choice(sorted(world.fleet.relays.items()))
    await asyncio.sleep(SETTLE + random.random())
    world.seen.forget()
    began = await world.relays.order("down", address)
    while (out := world.seen.out_at(pool, address, began)) is None and time.monotonic() - began < OUT:  # noqa: ASYNC110 - a watch fills it in
        await asyncio.sleep(0.005)
    await world.relays.order("up", address)
    await world.fleet.remove(name)
    await world.fleet.add(pool, address)
    while address not in world.seen.ready(pool) and time.monotonic() - began < OUT + BACK:  # noqa: ASYNC110 - a watch fills it in
        await asyncio.sleep(0.02)
    return None if out is None else out - began


def _decisions(size: int, outs: list[float | None]) -> Row:
    """Without a value when one of them did not come in time."""
    ordered = sorted(1000 * each for each in outs if each is not None)
    missed, rank = len(outs) - len(ordered), math.ceil(0.99 * len(outs)) - 1
    told = {
        "p50": round(statistics.median(ordered), 1) if ordered else None,
        "all": [round(each, 1) for each in ordered],
    }
    meaning = (
        "from the reset and refusal of a relay until a watch shows the slice; with so few trials p99 is the longest"
    )
    p99 = None if missed else ordered[rank]
    return row(
        f"scale.{size}.decision.p99", p99, "ms", len(outs), meaning=meaning, missed=missed, missed_after=OUT, **told
    )
