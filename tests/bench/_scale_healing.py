"""Two things that die behind a healthy process: a watch, and the event loop. How long until an order to a relay is carried out again?

The order is a cordon that a person writes on a relay's pod: the operator hears of it by its watch of pods alone.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from typing import Any

from relayfleet.api.labels import CORDON
from tests.bench._scale_fleet import NAMESPACE
from tests.bench._scale_kubelet import Kubelet
from tests.bench._scale_operator import Operator, operator
from tests.bench._scale_proxy import Proxy, proxy
from tests.bench._scale_size import Row, row
from tests.bench._scale_world import OPERATOR, World, calm

LONGEST = 180.0
"""Seconds after which it counts as not cured."""
BLOCKED = 30.0
_QUIET = 5.0


async def rows(world: World) -> list[Row]:
    """All rows. No operator runs before or after."""
    return [*await _frozen_watch(world), *await _blocked_with_standby(world), await _blocked_alone(world)]


async def _frozen_watch(world: World) -> list[Row]:
    """The watch of pods freezes while all else goes on."""
    async with proxy(world.server, OPERATOR) as between:
        kubeconfig = world.server.kubeconfig(OPERATOR, between.url)
        async with operator(world.api, kubeconfig, world.logs):
            await _works(world)
            frozen = between.freeze("pods")
            order, again = await asyncio.gather(_ordered(world), _watched_again(between, frozen))
            after = await _ordered(world)
    told = {
        "relays": world.fleet.size,
        "watch": "pods",
        "next_order": after,
        "cured_by": "kopf renews a silent watch; traffic work fetches everything anew now and then",
    }
    return [
        row("scale.frozen_watch.renewed", again and again - frozen, "s", 1, **told),
        row("scale.frozen_watch.order", order, "s", 1, **told),
    ]


async def _watched_again(between: Proxy, frozen: float) -> float | None:
    while time.monotonic() - frozen < LONGEST:
        if found := between.watches("pods", frozen):
            return found[0].began
        await asyncio.sleep(0.05)
    return None


async def _blocked_with_standby(world: World) -> list[Row]:
    """The leader's loop is blocked for a while; the standby is there, as the chart has it."""
    async with operator(world.api, world.kubeconfig, world.logs) as leader:
        await _works(world)
        async with operator(world.api, world.kubeconfig, world.logs) as standby:
            await _standing_by(standby)
            leader.signal(signal.SIGSTOP)
            began = time.monotonic()
            order = await _ordered(world)
            await asyncio.sleep(max(0.0, began + BLOCKED - time.monotonic()))
            leader.signal(signal.SIGCONT)
            left = await _left(leader)
            after = await _ordered(world)
    told = {
        "relays": world.fleet.size,
        "blocked": BLOCKED,
        "replicas": 2,
        "by": "SIGSTOP of the leader, not its prober",
    }
    more = {"old_leader_ended_after_waking": left, "next_order": after}
    return [row("scale.blocked_loop.standby", order, "s", 1, cured_by="the standby takes the lease", **told, **more)]


async def _blocked_alone(world: World) -> Row:
    """The only replica's loop is blocked and stays so; a liveness probe as in the chart restarts it."""
    async with operator(world.api, world.kubeconfig, world.logs) as only:
        await _works(world)
        kubelet = Kubelet(only)
        watching = asyncio.create_task(kubelet.until_killed())
        await asyncio.sleep(random.random() * kubelet.period)
        only.signal(signal.SIGSTOP)
        order = asyncio.create_task(_ordered(world))
        began = time.monotonic()
        noticed = await watching - began
    async with operator(world.api, world.kubeconfig, world.logs):
        took = await order
    told = {"relays": world.fleet.size, "blocked": "for good", "replicas": 1, "noticed": round(noticed, 1)}
    by = "the liveness probe of the chart, played by the benchmark; the killed container is started again at once"
    return row("scale.blocked_loop.alone", took, "s", 1, cured_by=by, **told)


async def _works(world: World) -> None:
    """Until all relays are listed, orders are carried out and nothing is left to do."""
    async with asyncio.timeout(LONGEST):
        while world.ready() < world.fleet.size or await _ordered(world) is None:  # noqa: ASYNC110
            await asyncio.sleep(1.0)
    await calm(world, _QUIET, LONGEST)


async def _standing_by(standby: Operator) -> None:
    async with asyncio.timeout(LONGEST):
        while await standby.alive(1.0) != "standby":  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    await asyncio.sleep(_QUIET)  # its prober is met by the leader


async def _left(leader: Operator) -> float | None:
    began = time.monotonic()
    try:
        async with asyncio.timeout(LONGEST):
            await leader.process.wait()
    except TimeoutError:
        return None
    return round(time.monotonic() - began, 2)


async def _ordered(world: World) -> float | None:
    """Seconds until a relay that a person cordons is out; it is taken back thereafter. None: not within LONGEST."""
    name, (pool, address) = random.choice(sorted(world.fleet.relays.items()))
    world.seen.forget()
    began = time.monotonic()
    await world.api.patch("Pod", NAMESPACE, name, _cordon("Hard"))
    while (out := world.seen.out_at(pool, address, began)) is None:
        if time.monotonic() - began > LONGEST:
            break
        await asyncio.sleep(0.02)
    await world.api.patch("Pod", NAMESPACE, name, _cordon(None))
    return None if out is None else round(out - began, 3)


def _cordon(word: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {CORDON: word}}}
