"""Who of a pool is listed for traffic: the fast part of a pool's work, a work of its own, so that no slow part ever holds it up.

A relay that leaves serves for three more seconds (`children.relay.names.UNLIST`); by then it must be unlisted everywhere. Order matters:
first the slices (traffic follows them), then the readiness gates (rollouts and drains follow those). Only this module writes either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from relayfleet.act.kubernetes import endpoints, pods
from relayfleet.api.labels import POOL, ZONE
from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.children.relay import slices
from relayfleet.controllers import relaynews, relaypods, relaywatch
from relayfleet.controllers.context import Context
from relayfleet.controllers.specs import parsed, paused
from relayfleet.decide import weights
from relayfleet.decide.pool import placement
from relayfleet.decide.pool.listing import shares
from relayfleet.decide.weights import Condition
from relayfleet.kube.client import Object, Objects

CALM = 60.0
"""Seconds until the next look when no event comes."""


async def reconcile(context: Context, namespace: str, name: str) -> float | None:
    """List the relays that should get traffic, unlist the others, set their gates."""
    seen = await _look(context, namespace, name)
    if seen is None:
        return None
    await relaywatch.watch(context, seen.pool, seen.spec, seen.pods)
    if paused(seen.pool):
        return CALM
    wanted, listed = _decide(context, seen)
    # KubeConflict (somebody else writes slices) goes to the work queue: the other's write is an event, so all of this runs again at once.
    await endpoints.write(context.kube, seen.slices, wanted)
    await asyncio.gather(*(_set_gate(context, pod, pod["metadata"]["name"] in listed) for pod in seen.pods))
    await relaynews.tell(context, seen.pool, seen.pods)
    await relaywatch.remember(context, seen.pool)
    await relaywatch.replace(context, seen.pool, seen.pods)
    return CALM


@dataclass(frozen=True, slots=True)
class _Seen:
    """A pool as it was read: pods that ended are left out; slices by name."""

    pool: Object
    spec: RelayPoolSpec
    pods: Objects
    slices: dict[str, Object]
    families: list[str]


async def _look(context: Context, namespace: str, name: str) -> _Seen | None:
    """None when there is nothing to do: no such pool, or one that is going or not understood."""
    kube, labels = context.kube, {POOL: name}
    pool, pods_, slices_, service = await asyncio.gather(
        kube.get("RelayPool", namespace, name),
        kube.list("Pod", namespace, labels),
        kube.list("EndpointSlice", namespace, labels),
        kube.get("Service", namespace, name),
    )
    spec = parsed(RelayPoolSpec, pool) if pool else None
    if pool is None or "deletionTimestamp" in pool["metadata"]:
        relaywatch.forget(context, (namespace, name))
    if pool is None or spec is None or "deletionTimestamp" in pool["metadata"]:
        return None
    # Before there is a Service there are no relays either; its address families are known by the time there are.
    families = service["spec"].get("ipFamilies") if service else None
    staying = [pod for pod in pods_ if not relaypods.ended(pod)]
    return _Seen(pool, spec, staying, {each["metadata"]["name"]: each for each in slices_}, families or ["IPv4"])


def _decide(context: Context, seen: _Seen) -> tuple[list[Object | str], frozenset[str]]:
    """The slices as they should be (or the name of one that has to go), the most urgent first; and the relays listed as ready."""
    name = seen.pool["metadata"]["name"]
    whose = relaywatch.pool_name(seen.pool)
    relays = [
        relaypods.relay(pod, relaywatch.place(context, pod, whose)) for pod in seen.pods if relaypods.addresses(pod)
    ]
    before = _places(name, seen.slices)
    after = placement.place(weights.lanes(shares(relays)), relays, seen.families, before)
    stray = [each for each in seen.slices if slices.place_of(name, each) is None]
    listed = (entry.relay for entries in after.values() for entry in entries if entry.condition is Condition.READY)
    return [*_objects(seen, before, after), *stray], frozenset(listed)


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


def _objects(seen: _Seen, before: placement.Slices, after: placement.Slices) -> list[Object | str]:
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
    await pods.set_listed(context.kube, pod, listed, message)
