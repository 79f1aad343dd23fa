"""Whether good relays stay in traffic on a network that loses packets: one in a hundred, in both directions, at each relay.

Real relays on the test bed under the operator, and as the peer the same relays behind a readiness probe, for LOSS_MINUTES (60) with LOSS_RATE
(10) mails a second and LOSS_PERCENT (1) lost. What must not happen: a relay that leaves traffic. Softly is not nothing, and hard is a false
alarm. On a machine whose cores are busy relays do stand still, so reasons are counted too. The first LOSS_CALM (2) minutes are without loss,
to tell what the machine does of itself.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack

from tests.bench._cordon_trial import Rig, rigged
from tests.bench._cordon_watch import Seen
from tests.bench._cordon_world import NAMESPACE, OURS, PEER, REGION, RELAYS, World, alone, world
from tests.testbed.network_faults import blocked

REPORT_SECONDS = 60.0
SETTLE_SECONDS = 10.0
WORDS = {"soft": "is Soft", "hard": "is Hard"}


async def run() -> list[dict[str, object]]:
    """Rows `loss.{soft,hard}` (cordons, with the peer's departures), `.calm` (the same before the loss), `loss.mails.failed`."""
    percent, rate = int(os.environ.get("LOSS_PERCENT", "1")), int(os.environ.get("LOSS_RATE", "10"))
    minutes, calm = float(os.environ.get("LOSS_MINUTES", "60")), float(os.environ.get("LOSS_CALM", "2"))
    async with world() as built, rigged(built) as rig:
        await built.forgiven(rig.seen)
        await rig.load({"mail": rate})
        await asyncio.sleep(SETTLE_SECONDS)
        async with AsyncExitStack() as stack:
            stack.enter_context(alone((calm + minutes + 5) * 60))
            before = await _watched(rig, calm, "without loss")
            await _lossy(stack, built, percent, minutes)
            during = await _watched(rig, minutes, f"{percent} % lost")
        await rig.load({})
    return [*_rows("loss", during, minutes), *_rows("loss.calm", before, calm)]


async def _lossy(stack: AsyncExitStack, built: World, percent: int, minutes: float) -> None:
    """At every relay of both Services."""
    for service in (OURS, PEER):
        for pod in await built.pods(service):
            name = str(pod["metadata"]["name"])
            fault = blocked(REGION, NAMESPACE, name, percent=percent, longest=(minutes + 2) * 60)
            await asyncio.to_thread(stack.enter_context, fault)


async def _watched(rig: Rig, minutes: float, what: str) -> dict[str, Counter[str]]:
    """What happened meanwhile, by kind: cordons with their reasons, departures of the peer, results of mails."""
    rig.seen.forget()
    rig.record.attempts.clear()
    ends = time.monotonic() + minutes * 60
    while (left := ends - time.monotonic()) > 0:
        await asyncio.sleep(min(left, REPORT_SECONDS))
        found = _found(rig)
        print(
            f"[{time.strftime('%H:%M:%S')}] {what}, {max(ends - time.monotonic(), 0) / 60:.0f} minutes to go: "
            + ", ".join(f"{kind} {dict(tally)}" for kind, tally in found.items()),
            file=sys.stderr,
            flush=True,
        )
        # Addresses of packets are no matter here, and an hour has many.
        rig.record.packets.clear()
    return _found(rig)


def _found(rig: Rig) -> dict[str, Counter[str]]:
    said = {
        kind: Counter(reason for _, reason, text in rig.seen.events if word in text) for kind, word in WORDS.items()
    }
    mails = Counter(each.result for each in rig.record.attempts if each.kind == "M")
    return said | {"peer": Counter(departures=departures(rig.seen, PEER)), "mails": mails}


def departures(seen: Seen, service: str) -> int:
    """How often an address left those that take new connections."""
    states = [ready for _, name, ready in seen.changes if name == service]
    return sum(len(before - after) for before, after in itertools.pairwise(states))


def _rows(name: str, found: dict[str, Counter[str]], minutes: float) -> list[dict[str, object]]:
    detail: dict[str, object] = {"minutes": minutes, "relays": RELAYS}
    mails = found["mails"]
    rows: list[dict[str, object]] = [
        {
            "name": f"{name}.{kind}",
            "value": found[kind].total(),
            "unit": "cordons",
            "peer": "readiness probe 1 s",
            "peer_value": found["peer"]["departures"],
            "detail": detail | {"reasons": dict(found[kind])},
        }
        for kind in WORDS
    ]
    failed = {"name": f"{name}.mails.failed", "value": mails.total() - mails["ok"], "unit": "mails"}
    return [*rows, failed | {"detail": detail | {"results": dict(mails)}}]
