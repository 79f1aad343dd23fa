"""An event for each relay whose level is another one: in the words of the verdict, on its pod and so in its pool's namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from relayfleet.controllers import relaywatch
from relayfleet.controllers.context import Context
from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.relays import Place
from relayfleet.kube.client import Object


async def tell(context: Context, pool: Object, pods: Sequence[Object]) -> None:
    """Tell what has changed since the last time. The first look of a leader tells of nobody: the one before has done so."""
    whose = relaywatch.pool_name(pool)
    now = {pod["metadata"]["name"]: relaywatch.place(context, pod, whose) for pod in pods}
    key = ("levels", *whose)
    known: dict[str, Level] | None = context.memory.get(key)
    context.memory[key] = {name: place.level for name, place in now.items()}
    if known is None:
        return
    news = [pod for pod in pods if _new(known, now, pod["metadata"]["name"])]
    await asyncio.gather(*(_event(context, pod, now[pod["metadata"]["name"]]) for pod in news))


def _new(known: dict[str, Level], now: dict[str, Place], name: str) -> bool:
    return known.get(name, Level.ACTIVE) is not now[name].level


async def _event(context: Context, pod: Object, place: Place) -> None:
    name, out = pod["metadata"]["name"], place.level is not Level.ACTIVE
    what = f"{place.level.value}: {place.message}" if out else "back in traffic"
    await context.recorder.event(pod, place.reason, f"relay {name} is {what}", warning=out, action="Cordon")
