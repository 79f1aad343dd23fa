"""A pool with its pods and slices as its traffic work sees it: from the watches, for a cordon cannot wait for four answers of an API server
that may be busy; and fetched anew at the first look, after a conflict, and now and then, when nothing waits for it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from relayfleet.api.labels import POOL
from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.controllers import relaypods, relaywatch
from relayfleet.controllers.context import Context
from relayfleet.controllers.specs import parsed
from relayfleet.kube.client import Object, Objects

TRUSTED = 50.0
"""Seconds for which the watches alone are believed."""
OVERDUE = 3 * TRUSTED
"""After so many seconds an urgent look fetches everything itself: work that fails each time never comes to `renew`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A pool: pods that ended are left out; slices by name."""

    pool: Object
    spec: RelayPoolSpec
    pods: Objects
    slices: dict[str, Object]
    families: list[str]


async def look(context: Context, namespace: str, name: str, *, fresh: bool = False) -> Seen | None:
    """None when there is nothing to do: no such pool, or one that is going or not understood. `fresh`: fetch everything."""
    whose = ("looked", namespace, name)
    if fresh or time.monotonic() - context.memory.get(whose, float("-inf")) > OVERDUE:
        await _fetch(context, namespace, name)
    pool = context.mirror.get("RelayPool", namespace, name)
    if pool is None or "deletionTimestamp" in pool["metadata"]:
        relaywatch.forget(context, (namespace, name))
        context.memory.pop(whose, None)
        return None
    spec = parsed(RelayPoolSpec, pool)
    return _seen(context, pool, spec) if spec else None


async def pods(context: Context, namespace: str, name: str) -> Objects:
    """The pool's pods without those that ended: from the watches too, once traffic has had its first look."""
    if ("looked", namespace, name) in context.memory:
        return _staying(context.mirror.list("Pod", namespace, {POOL: name}))
    return _staying(await context.kube.list("Pod", namespace, {POOL: name}))


def slices(context: Context, namespace: str, name: str) -> dict[str, Object]:
    """The pool's slices by name, as far as is known."""
    found = context.mirror.list("EndpointSlice", namespace, {POOL: name})
    return {each["metadata"]["name"]: each for each in found}


async def renew(context: Context, namespace: str, name: str) -> bool:
    """Fetch everything anew if that is long ago; whether it was, so that somebody has to look again."""
    looked = context.memory.get(("looked", namespace, name))
    if looked is None or time.monotonic() - looked <= TRUSTED:
        return False
    await _fetch(context, namespace, name)
    return True


async def _fetch(context: Context, namespace: str, name: str) -> None:
    began = time.monotonic()
    mirror, kube, labels = context.mirror, context.kube, {POOL: name}
    answers = await asyncio.gather(
        mirror.asked_one(kube, "RelayPool", namespace, name),
        mirror.asked(kube, "Pod", namespace, labels),
        mirror.asked(kube, "EndpointSlice", namespace, labels),
        mirror.asked_one(kube, "Service", namespace, name),
    )
    for take in answers:  # all or none: what the mirror has taken is no news any more when the watch tells it
        take()
    context.memory["looked", namespace, name] = began


def _seen(context: Context, pool: Object, spec: RelayPoolSpec) -> Seen:
    namespace, name = pool["metadata"]["namespace"], pool["metadata"]["name"]
    service = context.mirror.get("Service", namespace, name)
    # Before there is a Service there are no relays either; its address families are known by the time there are.
    families = service["spec"].get("ipFamilies") if service else None
    staying = _staying(context.mirror.list("Pod", namespace, {POOL: name}))
    return Seen(pool, spec, staying, slices(context, namespace, name), families or ["IPv4"])


def _staying(found: Objects) -> Objects:
    return [pod for pod in found if not relaypods.ended(pod)]
