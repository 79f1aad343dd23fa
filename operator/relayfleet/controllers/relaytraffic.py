"""Who of a pool is listed for traffic: the fast part of a pool's work, a work of its own, so that no slow part ever holds it up.

A relay that leaves serves for three more seconds (`children.relay.names.UNLIST`); by then it must be unlisted everywhere. Order matters:
first the slices (traffic follows them), then the readiness gates (rollouts and drains follow those). Only this module writes either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from relayfleet.act.kubernetes import endpoints, pods
from relayfleet.api.labels import ZONE
from relayfleet.children.relay import slices
from relayfleet.controllers import relaynews, relayorders, relaysight, relaywatch
from relayfleet.controllers.context import Context
from relayfleet.controllers.relaysight import Seen, look
from relayfleet.controllers.specs import paused
from relayfleet.decide import weights
from relayfleet.decide.pool import placement
from relayfleet.decide.pool.listing import shares
from relayfleet.decide.weights import Condition
from relayfleet.kube.client import Object
from relayfleet.kube.errors import KubeConflict

CALM = 60.0
"""Seconds until the next look when no event comes."""


async def reconcile(context: Context, namespace: str, name: str) -> float | None:
    """List the relays that should get traffic, and unlist the others. `follow` has to come after it."""
    try:
        return await _direct(context, namespace, name)
    except KubeConflict:
        # Somebody else has written a slice, and the watch has not said so yet.
        return await _direct(context, namespace, name, fresh=True)


async def _direct(context: Context, namespace: str, name: str, *, fresh: bool = False) -> float | None:
    seen = await look(context, namespace, name, fresh=fresh)
    if seen is None:
        return None
    await relaywatch.watch(context, seen.pool, seen.spec, seen.pods)
    if not paused(seen.pool):
        for written in await endpoints.write(context.kube, seen.slices, _decide(context, seen)):
            context.mirror.put("EndpointSlice", written)
        _tell_of_unlisted(context, seen.pool)
    relayorders.tell(context, seen.pool, seen.pods)
    return CALM


async def follow(context: Context, namespace: str, name: str) -> None:
    """What follows from who is listed, and may take its time: gates, events, what the next leader should know, replacement."""
    seen = await look(context, namespace, name)
    if seen is None or paused(seen.pool):
        return
    listed = _listed(name, seen.slices)
    await asyncio.gather(*(_set_gate(context, pod, pod["metadata"]["name"] in listed) for pod in seen.pods))
    await relaynews.tell(context, seen.pool, seen.pods)
    await relaywatch.remember(context, seen.pool)
    await relaywatch.replace(context, seen.pool, seen.pods)


def _tell_of_unlisted(context: Context, pool: Object) -> None:
    whose = relaywatch.pool_name(pool)
    if context.health.detections.wants_to_know(whose):
        context.health.unlisted(whose, _listed(whose[1], relaysight.slices(context, *whose)))


def _decide(context: Context, seen: Seen) -> list[Object | str]:
    """The slices as they should be (or the name of one that has to go), the most urgent first."""
    name = seen.pool["metadata"]["name"]
    relays = relaywatch.relays(context, seen.pods, relaywatch.pool_name(seen.pool))
    before = _places(name, seen.slices)
    after = placement.place(weights.lanes(shares(relays)), relays, seen.families, before)
    stray = [each for each in seen.slices if slices.place_of(name, each) is None]
    return [*_objects(seen, before, after), *stray]


def _listed(pool: str, live: Mapping[str, Object]) -> set[str]:
    """The relays that a slice lists as ready."""
    entries = (entry for entries in _places(pool, live).values() for entry in entries)
    return {entry.relay for entry in entries if entry.condition is Condition.READY}


def _places(pool: str, live: Mapping[str, Object]) -> dict[placement.Key, tuple[placement.Entry, ...]]:
    return {
        placement.Key(*place): tuple(_entry(endpoint) for endpoint in each.get("endpoints") or [])
        for name, each in live.items()
        if (place := slices.place_of(pool, name))
    }


def _entry(endpoint: Object) -> placement.Entry:
    conditions = endpoint.get("conditions", {})
    state = next((state for state, stock in slices.CONDITIONS.items() if stock == conditions), "Out")
    name = endpoint.get("targetRef", {}).get("name", "")
    return placement.Entry(name, endpoint["addresses"][0], Condition(state))


def _objects(seen: Seen, before: placement.Slices, after: placement.Slices) -> list[Object | str]:
    known = {pod["metadata"]["name"]: pod for pod in seen.pods}
    found: list[Object | str] = []
    for key in placement.order(before, after):
        if key in after:
            members = [_endpoint(entry, known[entry.relay]) for entry in after[key]]
            place = (key.family, key.lane, key.part)
            found.append(slices.endpoint_slice(seen.pool, seen.spec.listeners, *place, members))
        else:
            found.append(slices.name(seen.pool["metadata"]["name"], key.family, key.lane, key.part))
    return found


def _endpoint(entry: placement.Entry, pod: Object) -> slices.Endpoint:
    metadata = pod["metadata"]
    return slices.Endpoint(
        entry.address,
        entry.condition.value,
        metadata["name"],
        metadata["uid"],
        pod["spec"].get("nodeName"),
        metadata.get("labels", {}).get(ZONE),  # which the API server copies from the node, since Kubernetes 1.35
    )


async def _set_gate(context: Context, pod: Object, listed: bool) -> None:
    message = "takes new connections" if listed else "takes no new connections while others can"
    if written := await pods.set_listed(context.kube, pod, listed, message):
        context.mirror.put(
            "Pod", written
        )  # or the next look, if it comes before the watch has told, would write it once more
