"""A million records wait, come back and wait again in the product's own queues: is each accounted for, and is the brokers' disk free again?

RabbitMQ 4.0 and 4.1 have reported leaks of disk in such queues, quorum queues with a time-to-live whose records are dead-lettered at least once
(rabbitmq-server #13113, #14522). So three real brokers, configured by the operator's own files, get SOAK_RECORDS records of SOAK_SIZE bytes
(default a million of 2 KiB) through the product's topology, publisher and consumer, on rungs of a few seconds, in two halves with a rest after
each. Most wait twice, so they are written four times.

soak.records, .lost, .duplicates, .left     each record by its id, and what the queues hold in the end
soak.dead_lettered, .rate                   how often records came back by their time-to-live; records a second that came to their end
soak.disk.before, .peak, .rest              of the broker with most: MiB of its data, files that it holds open after removing them included.
                                            The goal of .rest is .before, one log of all queues, and what a queue may keep (`_soak_disk`)
soak.disk.rest.seconds                      after the last record's end, until all brokers were within that goal
soak.disk.growth                            how much more segments lie there after the second half than after the first
soak.memory.before, .peak, .rest            of the broker with most

SOAK_SECONDS (1,500) bounds all of it from the moment that the brokers are ready; when they are slower than was reckoned, fewer records wait twice, and
then fewer are put. SOAK_RECORDS=20000 is a quick check of the bench itself. A million of 2 KiB need some GB of disk, more if it leaks.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from tests.bench._soak_brokers import LOG_BYTES, SoakBrokers
from tests.bench._soak_disk import Usage, largest, mib
from tests.bench._soak_ledger import Ledger
from tests.bench._soak_plan import ROUNDS, Plan, plan
from tests.bench._soak_rows import Course, Rest, rows
from tests.bench._soak_traffic import Traffic
from tests.testbed.shell import TestbedError

START_SECONDS = 300.0
"""For images, containers, and everything to be removed again."""

LOOK_SECONDS = 5.0
SHORTEST_REST = 20.0
"""Seconds: four looks of a queue at what it can remove."""


async def run() -> list[dict[str, Any]]:
    """Rows of the benchmark."""
    made = plan(os.environ)
    brokers = SoakBrokers()
    with ExitStack() as stack:
        stack.callback(brokers.stop)
        stack.enter_context(brokers.started(made.seconds + START_SECONDS))
        await brokers.set_up()
        return rows(await _soak(brokers, made))


async def _soak(brokers: SoakBrokers, made: Plan) -> Course:
    began, ledger = time.monotonic(), Ledger(made.records)
    traffic = Traffic(brokers.target(), made, ledger)
    async with traffic.open():
        await asyncio.sleep(LOOK_SECONDS)
        before = await brokers.usage()
        course = Course(made, ledger, await brokers.version(), traffic.queues, LOG_BYTES, before, list(before))
        for turn in range(ROUNDS):
            await _round(brokers, course, traffic, turn, began)
    course.failures = dict(traffic.failures.most_common(10))
    return course


async def _round(brokers: SoakBrokers, course: Course, traffic: Traffic, turn: int, began: float) -> None:
    made, from_now = course.plan, time.monotonic()
    async with _watched(brokers, course, began):
        await traffic.put(made.numbers(turn), max(began + made.put_until(turn) - from_now, 1.0))
        await traffic.drain(began + made.drain_until(turn))
    course.traffic += time.monotonic() - from_now
    course.rests.append(await _rest(brokers, course, began, began + made.rest_until(turn)))


async def _rest(brokers: SoakBrokers, course: Course, began: float, until: float) -> Rest:
    """Wait until disk is free again, and as long as its brokers may still free some."""
    over, free = time.monotonic(), None
    while True:
        disk = await _look(brokers, course)
        now = time.monotonic()
        if not course.is_free(disk):
            free = None
        elif free is None:
            free = round(now - over, 1)
        if now >= until or (free is not None and now - over >= SHORTEST_REST):
            break
        _say(course, disk, began, "at rest")
        await asyncio.sleep(LOOK_SECONDS)
    return Rest(disk, free, round(now - over, 1), await brokers.records())


async def _look(brokers: SoakBrokers, course: Course) -> list[Usage]:
    disk = await brokers.usage()
    course.peak = [old.peak(new) for old, new in zip(course.peak, disk, strict=True)]
    return disk


@asynccontextmanager
async def _watched(brokers: SoakBrokers, course: Course, began: float) -> AsyncIterator[None]:
    """Look at disk and memory again and again, and say how far it is."""

    async def watch() -> None:
        while True:
            try:
                _say(course, await _look(brokers, course), began, "under way")
            except (TestbedError, ValueError) as error:
                print(f"soak: disk was not measured: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(LOOK_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


def _say(course: Course, disk: list[Usage], began: float, where: str) -> None:
    ledger, most = course.ledger, largest(disk)
    print(
        f"soak {time.monotonic() - began:5.0f} s  {where}: {ledger.put} put, {ledger.under_way} wait, {ledger.finished} done, "
        f"{ledger.hops} dead-lettered; disk {mib(most.total)} MiB (log {mib(most.log)}, segments {mib(most.segments)}), "
        f"memory {mib(most.memory)} MiB",
        file=sys.stderr,
        flush=True,
    )
