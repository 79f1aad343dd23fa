"""How many mails a second one relay takes and delivers, beside Postfix on the same machine: same client, same sink, same disk, in turn.

throughput.intake.2k            accepted while the destination is silent: nothing but the intake. Postfix's own brake is off there.
throughput.intake.2k.relaying   accepted while what was accepted is delivered as well: what the client sees in the next line's runs
throughput.relay.2k, .50k       from the client's start until the sink has counted the last mail
throughput.relay.2k.20-sessions     small mails again, with as many sessions to the sink stated as Postfix opens by default
throughput.relay.2k.dkim        as relay.2k, each mail signed with RSA-2048; Postfix does not sign, so it has no peer
throughput.latency.deferred.p99     milliseconds that new mail takes to the sink while records wait for their next attempt; the peer is the
                                same relay with none waiting
throughput.latency.beside-bulk.p99  the same beside a flood from a Bulk pool on the same brokers; the peer is the same flood from a pool that does not
                                say so, and what it is alone is in the detail

Ours is one relay process and three brokers with all that production has: TLS between them, each `250` after a majority's confirm, claims
and outcomes in the journal, logs. Everything shares the machine's cores, client and sink too.

THROUGHPUT_MAILS is the number of small mails in a run (default 20,000; large ones are a quarter), THROUGHPUT_ROUNDS that of runs,
THROUGHPUT_DEFERRED that of waiting records (default 100,000, half a minute to put there; a million takes 7 GB of disk).
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import _throughput_classes as classes
from tests.bench import _throughput_deferred as deferred
from tests.bench._throughput_tools import SESSIONS, SINK, Load
from tests.bench._throughput_world import Round, Side, World, disk, world

RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench"
MAILS = int(os.environ.get("THROUGHPUT_MAILS") or 20_000)
DEFERRED = int(os.environ.get("THROUGHPUT_DEFERRED") or 100_000)
ROUNDS = int(os.environ.get("THROUGHPUT_ROUNDS") or 3)
SMALL, LARGE = Load("2k", 2048, MAILS), Load("50k", 51_200, MAILS // 4)
WARM_UP = Load("warm-up", 2048, min(MAILS, 1000))
SILENT_PORT = 2530
POSTFIX_SESSIONS_OUT = 20
LONGEST_SECONDS = 3600.0

Rounds = Sequence[Round]
Row = dict[str, Any]


async def run() -> list[Row]:
    """Rows of the benchmark."""
    async with world(RESULTS / "throughput", LONGEST_SECONDS) as made:
        return [
            *await _relaying(made),
            *await _signing(made),
            *await _taking(made),
            *await _deferring(made),
            *await classes.beside_bulk(made),
        ]


async def _relaying(made: World) -> list[Row]:
    with made.relay("plain").running() as relay:
        await relay.ready()
        small, small_peer = await _in_turn(made.deliver, relay, made.postfix, SMALL)
        large, large_peer = await _in_turn(made.deliver, relay, made.postfix, LARGE)
    with made.relay("wide", sessions=POSTFIX_SESSIONS_OUT).running() as relay:
        await relay.ready()
        wide, wide_peer = await _in_turn(made.deliver, relay, made.postfix, SMALL)
    return [
        _row(made, "intake.2k.relaying", SMALL, _accepted, small, small_peer),
        _row(made, "relay.2k", SMALL, _relayed, small, small_peer),
        _row(made, f"relay.2k.{POSTFIX_SESSIONS_OUT}-sessions", SMALL, _relayed, wide, wide_peer),
        _row(made, "relay.50k", LARGE, _relayed, large, large_peer),
    ]


async def _signing(made: World) -> list[Row]:
    with made.relay("dkim", dkim=True).running() as relay:
        await relay.ready()
        rounds, _ = await _in_turn(made.deliver, relay, None, SMALL)
        signed = relay.metrics()["signing_total"]
    if signed != WARM_UP.count + SMALL.count * ROUNDS:
        raise RuntimeError(f"{signed:.0f} mails were signed")
    return [_row(made, "relay.2k.dkim", SMALL, _relayed, rounds, ())]


async def _taking(made: World) -> list[Row]:
    with _silent_destination(), made.relay("intake", sink_port=SILENT_PORT).running() as relay:
        await relay.ready()
        made.postfix.only_take(SILENT_PORT)
        rounds, peer = await _in_turn(made.accept, relay, made.postfix, SMALL)
    return [_row(made, "intake.2k", SMALL, _accepted, rounds, peer)]


async def _deferring(made: World) -> list[Row]:
    pool = "deferred"
    async with deferred.timing_sink() as sink:
        with made.relay(pool, sink_port=deferred.LATENCY_PORT).running() as relay:
            await relay.ready()
            await deferred.measure(relay.port, sink, "warm-up")
            without = await deferred.measure(relay.port, sink, "without")
            seconds = await deferred.fill(made.brokers, pool, DEFERRED)
            loaded = await deferred.measure(relay.port, sink, "with")
    row = {
        "name": "throughput.latency.deferred.p99",
        "value": loaded.p99,
        "unit": "ms",
        "peer": "none deferred",
        "peer_value": without.p99,
        "n": loaded.mails,
        "detail": {
            "deferred": DEFERRED,
            "seconds_to_put_them": round(seconds, 1),
            "ratio": round(loaded.p99 / without.p99, 2),
            "with": asdict(loaded),
            "without": asdict(without),
        },
    }
    return [row]


async def _in_turn(
    measure: Callable[[Side, Load], Awaitable[Round]], ours: Side, peer: Side | None, load: Load
) -> tuple[list[Round], list[Round]]:
    """Ours, theirs, ours, …; one short run of each before does not count."""
    sides = [ours] if peer is None else [ours, peer]
    found: dict[str, list[Round]] = {each.name: [] for each in sides}
    for side in sides:
        await measure(side, WARM_UP)
    for _ in range(ROUNDS):
        for side in sides:
            found[side.name].append(await measure(side, load))
            print(f"{load.name} {side.name}: {found[side.name][-1].told}", file=sys.stderr, flush=True)
    return found[ours.name], found[peer.name] if peer else []


@contextmanager
def _silent_destination() -> Iterator[None]:
    """The kernel accepts connections for it, and nobody ever says a word."""
    with socket.create_server((SINK, SILENT_PORT), backlog=1000):
        yield


def _accepted(one: Round) -> float:
    return one.accepted


def _relayed(one: Round) -> float:
    assert one.relayed is not None
    return one.relayed


def _row(made: World, name: str, load: Load, value: Callable[[Round], float], ours: Rounds, peer: Rounds) -> Row:
    return {
        "name": f"throughput.{name}",
        "value": round(statistics.median(map(value, ours))),
        "unit": "mails/s",
        "peer": f"postfix {made.postfix.version}" if peer else None,
        "peer_value": round(statistics.median(map(value, peer))) if peer else None,
        "n": load.count * len(ours),
        "detail": {
            "bytes": load.size,
            "sessions": SESSIONS,
            "cores": os.cpu_count(),
            "disk": disk(),
            "rounds": [each.told for each in ours],
            "peer_rounds": [each.told for each in peer],
        },
    }
