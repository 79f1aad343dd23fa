"""Two things that die behind a healthy process: a watch, and the event loop. How long until an order to a relay is carried out again?

The order is a cordon that a person writes on a relay's pod: the operator hears of it by its watch of pods alone.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from relayfleet.api.labels import CORDON
from tests.bench._scale_fleet import NAMESPACE
from tests.bench._scale_kubelet import Kubelet
from tests.bench._scale_operator import Operator, operator
from tests.bench._scale_plan import HEALED, MOST_HEALING, Row, ShortError, not_cured, row
from tests.bench._scale_proxy import Proxy, proxy
from tests.bench._scale_say import Say
from tests.bench._scale_world import OPERATOR, World, calm

RELAYS = 10
BLOCKED = 30.0
"""Seconds that the leader's loop stands still."""
_QUIET, _CALM = 5.0, 30.0


@dataclass(frozen=True, slots=True)
class Bench:
    """No operator runs before or after. `until`: when it has to be over (monotonic); what did not work by then counts as not cured."""

    job: str
    world: World
    until: float
    say: Say

    @property
    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    def row(self, what: str, value: float | None, began: float, **detail: Any) -> Row:
        """A row of `_scale_plan.HEALED`; `began`: when it died."""
        told = {"relays": self.world.fleet.size, "goal": MOST_HEALING, **detail}
        if value is None:
            told |= not_cured(time.monotonic() - began)
        return row(f"scale.{what}", value, HEALED[self.job][what], 1, **told)


async def rows(job: str, world: World, until: float, say: Say) -> list[Row]:
    """All rows of a job of `_scale_plan.HEALED`."""
    return await _JOBS[job](Bench(job, world, until, say))


async def _frozen_watch(bench: Bench) -> list[Row]:
    """The watch of pods freezes while all else goes on."""
    world = bench.world
    async with proxy(world.server, OPERATOR) as between:
        kubeconfig = world.server.kubeconfig(OPERATOR, between.url)
        async with operator(world.api, kubeconfig, world.logs):
            await _works(bench)
            frozen = between.freeze("pods")
            bench.say(f"the watch of pods is frozen; waits for it and for an order, {bench.left:.0f} s at the most")
            order, again = await asyncio.gather(_ordered(bench), _watched_again(bench, between, frozen))
            after = await _ordered(bench)
    by = "kopf renews a silent watch; traffic work fetches everything anew now and then"
    told = {"watch": "pods", "next_order": after, "cured_by": by}
    return [
        bench.row("frozen_watch.renewed", again and again - frozen, frozen, **told),
        bench.row("frozen_watch.order", order, frozen, **told),
    ]


async def _watched_again(bench: Bench, between: Proxy, frozen: float) -> float | None:
    while bench.left > 0:
        if found := between.watches("pods", frozen):
            return found[0].began
        await asyncio.sleep(0.05)
    return None


async def _blocked_with_standby(bench: Bench) -> list[Row]:
    """The leader's loop is blocked for a while; the standby is there, as the chart has it."""
    world = bench.world
    async with operator(world.api, world.kubeconfig, world.logs) as leader:
        await _works(bench)
        async with operator(world.api, world.kubeconfig, world.logs) as standby:
            await _standing_by(standby)
            prober = leader.prober
            leader.signal(signal.SIGSTOP)
            bench.say(f"the leader is stopped for {BLOCKED:g} s; waits for an order, {bench.left:.0f} s at the most")
            began = time.monotonic()
            order = await _ordered(bench)
            await asyncio.sleep(max(0.0, began + BLOCKED - time.monotonic()))
            leader.signal(signal.SIGCONT)
            again = await _stands_by_again(bench, leader, prober)
            after = await _ordered(bench)
    told = {"blocked": BLOCKED, "replicas": 2, "by": "SIGSTOP of the leader, not its prober"}
    more = {"old_leader_stands_by_after_waking": again, "next_order": after}
    return [bench.row("blocked_loop.standby", order, began, cured_by="the standby takes the lease", **told, **more)]


async def _blocked_alone(bench: Bench) -> list[Row]:
    """The only replica's loop is blocked and stays so; a liveness probe as in the chart restarts it."""
    world = bench.world
    async with operator(world.api, world.kubeconfig, world.logs) as only:
        await _works(bench)
        kubelet = Kubelet(only)
        watching = asyncio.create_task(kubelet.until_killed())
        await asyncio.sleep(random.random() * kubelet.period)
        only.signal(signal.SIGSTOP)
        bench.say(f"the only replica is stopped for good; waits for an order, {bench.left:.0f} s at the most")
        order = asyncio.create_task(_ordered(bench))
        began = time.monotonic()
        noticed = await watching - began
    async with operator(world.api, world.kubeconfig, world.logs):
        took = await order
    told = {"blocked": "for good", "replicas": 1, "noticed": round(noticed, 1)}
    by = "the liveness probe of the chart, played by the benchmark; the killed container is started again at once"
    return [bench.row("blocked_loop.alone", took, began, cured_by=by, **told)]


async def _works(bench: Bench) -> None:
    """Until all relays are listed, orders are carried out and nothing is left to do."""
    bench.say("waits until the operator works and is at rest")
    while bench.world.ready() < bench.world.fleet.size or await _ordered(bench) is None:
        if bench.left < 0:
            raise ShortError("the operator did not work in time, before anything was done to it")
        await asyncio.sleep(0.2)
    await calm(bench.world, _QUIET, _CALM)


async def _standing_by(standby: Operator) -> None:
    while await standby.alive(1.0) != "standby":  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.2)
    await asyncio.sleep(_QUIET)  # its prober is met by the leader


async def _stands_by_again(bench: Bench, leader: Operator, prober: int) -> float | None:
    """Seconds until it has begun anew, with another prober than that one."""
    began = time.monotonic()
    while not (_has_another_prober(leader, prober) and await leader.alive(1.0) == "standby"):
        if bench.left < 0:
            return None
        await asyncio.sleep(0.1)
    return round(time.monotonic() - began, 2)


def _has_another_prober(leader: Operator, prober: int) -> bool:
    try:
        return leader.prober != prober
    except IndexError:  # it has none now
        return False


async def _ordered(bench: Bench) -> float | None:
    """Seconds until a relay that a person cordons is out; it is taken back thereafter. None: not in time."""
    world = bench.world
    name, (pool, address) = random.choice(sorted(world.fleet.relays.items()))
    world.seen.forget()
    began = time.monotonic()
    await world.api.patch("Pod", NAMESPACE, name, _cordon("Hard"))
    while (out := world.seen.out_at(pool, address, began)) is None:
        if bench.left < 0:
            break
        await asyncio.sleep(0.02)
    await world.api.patch("Pod", NAMESPACE, name, _cordon(None))
    return None if out is None else round(out - began, 3)


def _cordon(word: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {CORDON: word}}}


_JOBS: dict[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "frozen_watch": _frozen_watch,
    "blocked_standby": _blocked_with_standby,
    "blocked_alone": _blocked_alone,
}
