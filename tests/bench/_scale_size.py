"""What one operator costs, and how quick it is, with a fleet of one size."""

from __future__ import annotations

import asyncio
import math
import os
import random
import statistics
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from tests.bench._scale_operator import Cost, Operator
from tests.bench._scale_plan import MOST_WRITES, SIZED, Row, ShortError, row
from tests.bench._scale_say import Say
from tests.bench._scale_world import World, calm

QUIET = 10.0
"""Seconds without a write, after which the fleet is at rest."""
UNREST, RESTING, LEAST_REST = 0.35, 0.4, 10.0
"""Parts of the time that is left: until the fleet is at rest, at the most, and then for the measurement of the rest; that has so many seconds at
the least, for what is still to be done after a start says nothing of the rest."""
TRIALS, LEAST = 20, 5.0
"""Decisions, and seconds that have to be left for one to begin."""
OUT, SETTLE = 10.0, 1.0
"""Seconds until a relay is out, and until its successor is probed like the others."""
PARTS = ("operator", "prober")
TELL = 5.0
"""Seconds between two words on a cold start."""

_SEEN = "relayfleet_observations_total"
_SIMULATED = (
    "relays (one process for all) and their pods (objects only): no kubelets, no controllers; etcd without fsync"
)


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


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and until when (monotonic)."""

    world: World
    operator: Operator
    until: float
    say: Say

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    def row(self, what: str, value: float | None, n: int, **detail: Any) -> Row:
        """A row of `_scale_plan.SIZED`."""
        return row(f"scale.{self.world.fleet.size}.{what}", value, SIZED[what], n, **detail)


async def rows(world: World, operator: Operator, until: float, rest: float, say: Say) -> AsyncGenerator[Row]:
    """All rows of this size, as they are measured. The operator has just been started."""
    bench = Bench(world, operator, until, say)
    say(f"cold start: waits until all relays are listed, {bench.left:.0f} s at the most")
    ready = await _all_ready(bench)
    load, parts = round(os.getloadavg()[0], 1), await operator.cost()
    cores = {"cpu_seconds": {part: round(each.cpu, 1) for part, each in zip(PARTS, parts, strict=True)}}
    if ready is None:
        took = round(time.monotonic() - operator.began, 1)
        yield bench.row("cold_start", None, 1, after=took, ready=world.ready(), load_average=load, **cores)
        raise ShortError(f"{world.fleet.size - world.ready()} relays were not listed in time after a cold start")
    yield bench.row("cold_start", ready, 1, lease="free", load_average=load, simulated=_SIMULATED, **cores)
    say(f"waits for {QUIET:g} s without a write, {UNREST * bench.left:.0f} s at the most")
    settled = await calm(world, QUIET, UNREST * bench.left)
    if RESTING * bench.left < LEAST_REST:
        raise ShortError(f"{bench.left:.0f} s were left for the rest and for decisions")
    resting = min(rest, RESTING * bench.left)
    say(f"measures the rest for {resting:.0f} s" + (", though it still writes" if settled is None else ""))
    found, watched = await _rest(world, operator, resting), await operator.metric("relayfleet_relays")
    for each in _at_rest(
        bench, found, relays_watched=watched, at_rest=settled is not None, last_write_after_cold_start=settled
    ):
        yield each
    say(f"measures up to {TRIALS} decisions, {bench.left:.0f} s at the most")
    yield _decisions(bench, await _trials(bench))


async def _all_ready(bench: Bench) -> float | None:
    world, told = bench.world, time.monotonic()
    while world.ready() < world.fleet.size:
        if bench.left < 0:
            return None
        if time.monotonic() - told > TELL:
            told = time.monotonic()
            bench.say(f"{world.ready()} of {world.fleet.size} relays are listed")
        await asyncio.sleep(0.02)
    return world.seen.changes[-1][0] - bench.operator.began


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


def _at_rest(bench: Bench, rest: Rest, **more: Any) -> list[Row]:
    lease = sum(rate for what, rate in rest.writes.items() if what.endswith("leases"))
    told: dict[str, Any] = {"seconds": round(rest.seconds, 1), "load_average": rest.load, **more}
    told |= {
        "simulated": _SIMULATED,
        "answers_per_second": round(rest.answers, 1),
        "held_the_lease_at_the_end": rest.led,
    }
    cores = {part: round(each, 4) for part, each in zip(PARTS, rest.cores, strict=True)}
    now = {part: round(each.memory, 1) for part, each in zip(PARTS, rest.after, strict=True)}
    most = {f"{part}_most": round(each.most, 1) for part, each in zip(PARTS, rest.after, strict=True)}
    writes = {what: round(rate, 4) for what, rate in rest.writes.items()}
    false, size = len(rest.false_cordons), bench.world.fleet.size
    rated = sum(rest.writes.values()) - lease
    return [
        bench.row("cpu", sum(rest.cores), size, **cores, **told),
        bench.row("memory", sum(each.memory for each in rest.after), size, **now, **most),
        bench.row("writes", rated, size, goal=MOST_WRITES, by_kind=writes, **told),
        bench.row("writes.lease", lease, size, meaning="renewals of the lease, not in the row above"),
        bench.row("false_cordons", false, size, relays=rest.false_cordons[:20], **told),
    ]


async def _trials(bench: Bench) -> list[float | None]:
    outs: list[float | None] = []
    last = ""
    while len(outs) < TRIALS and bench.left > LEAST:
        out, last = await _trial(bench, last)
        outs.append(out)
    if not outs:
        raise ShortError("no time was left for decisions")
    return outs


async def _trial(bench: Bench, last: str) -> tuple[float | None, str]:
    """Seconds from the reset of a relay's sessions until the slice that says so is seen, None: not in time. Then another pod takes its place,
    which is returned and is not the next one's relay."""
    world = bench.world
    name, (pool, address) = random.choice(sorted(each for each in world.fleet.relays.items() if each[0] != last))
    await asyncio.sleep(SETTLE + random.random())
    world.seen.forget()
    began = await world.relays.order("down", address)
    end = min(began + OUT, bench.until)
    while (out := world.seen.out_at(pool, address, began)) is None and time.monotonic() < end:  # noqa: ASYNC110 - a watch fills it in
        await asyncio.sleep(0.005)
    await world.relays.order("up", address)
    await world.fleet.remove(name)
    name = await world.fleet.add(pool, address)
    while address not in world.seen.ready(pool) and bench.left > 0:  # noqa: ASYNC110 - a watch fills it in
        await asyncio.sleep(0.02)
    return None if out is None else out - began, name


def _decisions(bench: Bench, outs: list[float | None]) -> Row:
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
    late = f"{OUT:g} s, or the end of the time, {LEAST - SETTLE - 1:g} s at the least"
    p99 = None if missed else ordered[rank]
    return bench.row("decision.p99", p99, len(outs), meaning=meaning, missed=missed, missed_after=late, **told)
