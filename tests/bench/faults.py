"""What faults cost: mail flows while relays and brokers are killed, frozen, cut off, restarted, leaders moved, and the brokers' disks are full, stand still
or lose, all at once, what was not synced; at random from a seed.

FAULTS and MAILS choose how many, at least; FAULTS_MINUTES bounds the traffic, FAULTS_SETTLE_MINUTES the time after it (ten minutes pass
before an uncertain mail is tried again); FAULTS_RATE is what the client offers a second, FAULTS_SEED repeats a run. It ends early but honest.

The client's list of every 250 and the sink's records are the judge. Lists, logs and a timeline of every mail that is lost or doubled without
a reason stay in build/bench/faults-<seed>/.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

from tests.bench import _faults_traces as traces
from tests.bench._faults_evidence import Evidence, write
from tests.bench._faults_report import rows
from tests.bench._faults_run import Course, Plan, drive
from tests.bench._faults_world import World, world
from tests.ledger.entries import read

RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench"
START_SECONDS = 600.0


async def run() -> list[dict[str, Any]]:
    """Rows of the benchmark."""
    plan = _plan()
    folder = RESULTS / f"faults-{plan.seed}"
    print(f"faults: seed {plan.seed}, evidence in {folder}", file=sys.stderr, flush=True)
    async with world(folder, plan.seed, plan.seconds + plan.settle + START_SECONDS) as made:
        course = await drive(made, plan)
        evidence = await _collect(made, course)
        result = rows(plan, evidence)
        write(folder, evidence)  # before anything can stumble over what it removes
    return result


def _plan() -> Plan:
    def number(name: str, default: float) -> float:
        return float(os.environ.get(name) or default)

    return Plan(
        seed=int(number("FAULTS_SEED", secrets.randbelow(2**31))),
        faults=int(number("FAULTS", 200)),
        mails=int(number("MAILS", 100_000)),
        seconds=60 * number("FAULTS_MINUTES", 50),
        settle=60 * number("FAULTS_SETTLE_MINUTES", 15),
        rate=number("FAULTS_RATE", 100),
    )


async def _collect(made: World, course: Course) -> Evidence:
    """The relays leave first, so that nothing moves any more when the queues are read."""
    for relay in made.relays:
        relay.signal(signal.SIGTERM)
    for relay in made.relays:
        relay.wait(30)
    await made.read_deeds()
    await made.brokers.well(60)
    said = await traces.journal(made.brokers)
    left = await traces.left(made.brokers)
    logs = {each.helo: each.log for each in made.relays}
    return Evidence(
        course=course,
        entries=list(read(made.ledger)),
        deeds=made.deeds,
        messages=await made.sink.messages(),
        said=said,
        left=left,
        told=traces.told(logs),
        logs=list(logs.values()),
        client=made.client_said(),
        crashes=sum(each.crashes for each in made.relays),
    )
