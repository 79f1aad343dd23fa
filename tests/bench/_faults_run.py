"""The traffic part: one fault after the other while mail flows, then the time for what is under way to settle."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from tests.bench._faults_brokers import POOL
from tests.bench._faults_kinds import KINDS
from tests.bench._faults_scene import Scene, Struck
from tests.bench._faults_world import World
from tests.testbed.shell import TestbedError

IN_FLIGHT = 100
"""Records under way at least when a fault strikes."""
GAP = (1.0, 3.0)
WAIT_SECONDS = 60.0
"""For the fleet to be whole, or busy, again before the next fault; then it strikes all the same, and the row says so."""


@dataclass(frozen=True)
class Plan:
    """How much. `mails`: 250s at least; `rate`: mails offered a second; times in seconds."""

    seed: int
    faults: int
    mails: int
    seconds: float
    settle: float
    rate: float


@dataclass
class Course:
    """What happened. `ended_by`: why the traffic ended."""

    faults: list[Struck] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    settled: bool = False
    ended_by: str = ""


def draw(rng: Random) -> Iterator[str]:
    """Kinds without end, each as often as it weighs, in an order of chance."""
    while True:
        bag = [name for name, kind in KINDS.items() for _ in range(kind.weight)]
        rng.shuffle(bag)
        yield from bag


async def drive(world: World, plan: Plan) -> Course:
    """Faults under traffic, until there were enough of both or time is over; then wait until all is delivered."""
    course, rng = Course(began=time.time()), Random(plan.seed)
    deadline = time.monotonic() + plan.seconds
    with world.client(plan.rate) as client:
        for name in draw(rng):
            course.ended_by = _why_end(world, plan, course, deadline, client.poll())
            if course.ended_by:
                break
            if len(course.faults) < plan.faults:
                await _one(world, rng, name, course)
            else:
                await asyncio.sleep(1)
    course.ended = time.time()
    course.settled = await _settle(world, plan.settle)
    return course


def _why_end(world: World, plan: Plan, course: Course, deadline: float, client: int | None) -> str:
    if client is not None:
        return f"the client ended with {client}"
    if time.monotonic() > deadline:
        return "time"
    enough = len(course.faults) >= plan.faults and _accepted(world) >= plan.mails
    return "done" if enough else ""


def _accepted(world: World) -> int:
    if not world.ledger.exists():
        return 0
    with world.ledger.open("rb") as lines:
        return sum(b'"outcome":"accepted"' in line for line in lines)


async def _one(world: World, rng: Random, name: str, course: Course) -> None:
    """Wait until the fleet is whole and busy, strike, note."""
    kind, struck = KINDS[name], Struck(name)
    await asyncio.sleep(rng.uniform(*GAP))
    if kind.brokers and not await world.brokers.well(WAIT_SECONDS):
        struck.note += "the brokers were not well before; "
    if not await world.relays_ready(WAIT_SECONDS):
        struck.note += "the relays were not ready before; "
    struck.in_hand = await _busy(world)
    scene = Scene(world.brokers, world.relays, rng, struck)
    try:
        await kind.strike(scene)
    except TestbedError as error:
        struck.note += f"the bench failed: {error}; "
    struck.ended = time.time()
    struck.began = struck.began or struck.ended
    for each in world.relays:
        if each.revive():
            struck.note += f"{each.name} had ended by itself; "
    course.faults.append(struck)
    _tell(world, len(course.faults), struck)
    await world.read_deeds()


async def _busy(world: World) -> dict[str, float]:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = await world.in_hand()
        if sum(found.values()) >= IN_FLIGHT or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.1)


async def _settle(world: World, seconds: float) -> bool:
    """True when nothing is left in the queues within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = await world.brokers.look()
        mail = [each for each in seen.queues if each.name.startswith(POOL)] if seen else []
        if mail and all(each.messages == 0 for each in mail):
            return True
        for each in world.relays:
            each.revive()
        await asyncio.sleep(1)
    return False


def _tell(world: World, number: int, struck: Struck) -> None:
    with (world.folder / "faults.jsonl").open("a") as file:
        file.write(json.dumps(dataclasses.asdict(struck)) + "\n")
    where = ", ".join([*struck.relays, *(f"broker {each}" for each in struck.brokers)])
    busy = sum(struck.in_hand.values())
    print(f"{number:4} {struck.kind} {where}: {struck.note}{busy:.0f} in hand", file=sys.stderr, flush=True)
