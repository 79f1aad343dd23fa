"""How many mails a second one relay takes and delivers, beside Postfix on the same machine: same client, same sink, same disk, in turn.

throughput.intake.2k            accepted while the destination is silent: nothing but the intake. Postfix's own brake is off there.
throughput.intake.2k.relaying   accepted while what was accepted is delivered as well: what the client sees in the next line's runs
throughput.relay.2k, .50k       from the client's start until the sink has counted the last mail
throughput.relay.2k.20-sessions     small mails again, with as many sessions to the sink stated as Postfix opens by default
throughput.relay.2k.dkim        as relay.2k, each mail signed with RSA-2048; Postfix does not sign, so it has no peer
throughput.latency.deferred.p99     milliseconds that new mail takes to the sink while records wait for their next attempt; the peer is the
                                same relay with none waiting
throughput.latency.slow-provider.p99    the same of mail to others, for as long as one provider holds every session of the relay and has much mail
                                        queued; provider lanes are on, and the peer is the same relay with none queued
throughput.latency.slow-provider.no-lanes.p99   the same without lanes. Mail that has not come in the end (`missing`) counts as having waited until
                                        then: what it really waits is longer

The slow provider is one of those that have a lane of their own. So is one of the others, and three share lanes by hash. All are on loopback; the relay
finds them by a name server of the bench (`_throughput_destinations`).

Ours is one relay process and three brokers with all that production has: TLS between them, each `250` after a majority's confirm, claims
and outcomes in the journal, logs. Everything shares the machine's cores, client and sink too.

THROUGHPUT_MAILS is the number of small mails in a run (default 20,000; large ones are a quarter), THROUGHPUT_ROUNDS that of runs,
THROUGHPUT_DEFERRED that of waiting records (default 100,000, half a minute to put there; a million takes 7 GB of disk). THROUGHPUT_SLOW (100,000)
records are queued for the slow provider, which holds its sessions for THROUGHPUT_SLOW_MINUTES (10), once with lanes and once without.
THROUGHPUT_ROWS: parts, with commas (all): relaying, signing, taking, deferring, slow, slow-no-lanes. What takes longer than `_throughput_plan.longest`
is given up.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import statistics
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from relayfleet.protocol.relay_config import Delivery
from relayfleet.relay.spool.rabbitmq.topology import LADDER, LANES
from tests.bench import _throughput_latency as latency
from tests.bench import _throughput_plan as plan
from tests.bench._throughput_filling import fill, queues_of
from tests.bench._throughput_latency import Row
from tests.bench._throughput_relay import TO_SINK
from tests.bench._throughput_slow import beside_slow_provider
from tests.bench._throughput_tools import RECIPIENT, SESSIONS, SINK, Load
from tests.bench._throughput_world import Round, Side, World, disk, world

RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench"
MAILS = int(os.environ.get("THROUGHPUT_MAILS") or 20_000)
DEFERRED = int(os.environ.get("THROUGHPUT_DEFERRED") or 100_000)
ROUNDS = int(os.environ.get("THROUGHPUT_ROUNDS") or 3)
SLOW = int(os.environ.get("THROUGHPUT_SLOW") or 100_000)
SLOW_MINUTES = float(os.environ.get("THROUGHPUT_SLOW_MINUTES") or 10)
SMALL, LARGE = Load("2k", 2048, MAILS), Load("50k", 51_200, MAILS // 4)
WARM_UP = Load("warm-up", 2048, min(MAILS, 1000))
SILENT_PORT = 2530
POSTFIX_SESSIONS_OUT = 20
START_SECONDS = 600.0
"""For all that stands before the first part begins, and for it to be removed again."""

Rounds = Sequence[Round]


async def run() -> AsyncGenerator[Row]:
    """Rows of the benchmark, each part's as soon as it is over. Raises TimeoutError when that takes too long."""
    parts = plan.chosen(os.environ)
    longest = plan.longest(parts, SLOW_MINUTES)
    async with world(RESULTS / "throughput", longest + START_SECONDS) as made:
        end = asyncio.get_running_loop().time() + longest
        for part in parts:
            async with asyncio.timeout_at(end):
                rows = await MEASURES[part](made)
            for row in rows:
                yield row


async def _relaying(made: World) -> list[Row]:
    with made.relay("plain").running() as relay:
        await relay.ready()
        small, small_peer = await _in_turn(made.deliver, relay, made.postfix, SMALL)
        large, large_peer = await _in_turn(made.deliver, relay, made.postfix, LARGE)
    delivery = dataclasses.replace(TO_SINK, sessions_per_destination=POSTFIX_SESSIONS_OUT)
    with made.relay("wide", delivery=delivery).running() as relay:
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
    with _silent_destination(), made.relay("intake", delivery=Delivery(port=SILENT_PORT)).running() as relay:
        await relay.ready()
        made.postfix.only_take(SILENT_PORT)
        rounds, peer = await _in_turn(made.accept, relay, made.postfix, SMALL)
    return [_row(made, "intake.2k", SMALL, _accepted, rounds, peer)]


async def _deferring(made: World) -> list[Row]:
    """The waiting ones are in the longest rung of the pool's own ladder: they stay there for the whole run, as the mail of a provider that is down does."""
    pool, delivery = "deferred", Delivery(port=latency.LATENCY_PORT)
    names = queues_of(made.brokers, pool)
    async with latency.timing_sink() as sink:
        with made.relay(pool, delivery=delivery).running() as relay:
            await relay.ready()
            await latency.measure(relay.port, sink, "warm-up")
            without = latency.complete(await latency.measure(relay.port, sink, "without"))
            waiting = [names.wait(LADDER[-1], lane) for lane in LANES]
            seconds = await fill(made.brokers, waiting, DEFERRED, RECIPIENT, attempt=9)
            loaded = latency.complete(await latency.measure(relay.port, sink, "with"))
    detail = {"deferred": DEFERRED, "seconds_to_put_them": round(seconds, 1)}
    return [latency.row("deferred", "none deferred", loaded, without, detail)]


async def _slow(made: World) -> list[Row]:
    return [await beside_slow_provider(made, SLOW, SLOW_MINUTES, lanes=True)]


async def _slow_no_lanes(made: World) -> list[Row]:
    return [await beside_slow_provider(made, SLOW, SLOW_MINUTES, lanes=False)]


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


MEASURES: dict[str, Callable[[World], Awaitable[list[Row]]]] = dict(
    zip(plan.PARTS, (_relaying, _signing, _taking, _deferring, _slow, _slow_no_lanes), strict=True)
)
