"""The fast part of a pool's work: who is listed for traffic. It comes before everything else, since a relay that left must be unlisted
within its first seconds, whatever else there is to do.

Order matters: first the slices (traffic follows them), then the readiness gates (rollouts and drains follow those).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from relayfleet.act.kubernetes import endpoints, pods
from relayfleet.api.labels import POOL, ZONE
from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.children.relay import slices
from relayfleet.controllers import relaypods
from relayfleet.controllers.context import Context
from relayfleet.decide import weights
from relayfleet.decide.pool import placement
from relayfleet.decide.pool.listing import shares
from relayfleet.decide.weights import Condition
from relayfleet.kube.client import Object, Objects
from relayfleet.kube.errors import KubeConflict

ATTEMPTS = 3
"""How often the slices are read and decided anew when somebody else writes them meanwhile; then the work queue comes back later."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The pool's pods as they were read, those that ended left out, and the slices and gates that followed."""

    pods: Objects
    listed: frozenset[str]

    @property
    def staying(self) -> Objects:
        """The pods that are not being deleted."""
        return [pod for pod in self.pods if not relaypods.leaving(pod)]


async def direct(context: Context, pool: Object, spec: RelayPoolSpec) -> Traffic:
    """List the relays that should get traffic, unlist the others, set their gates."""
    for attempt in range(ATTEMPTS):
        traffic, live, wanted = await _decide(context, pool, spec)
        try:
            await endpoints.write(context.kube, live, wanted)
        except KubeConflict:
            if attempt + 1 == ATTEMPTS:
                raise
        else:
            break
    await asyncio.gather(*(_set_gate(context, pod, traffic) for pod in traffic.pods))
    return traffic


async def look(context: Context, pool: Object) -> Traffic:
    """The traffic as it is, with nothing done about it (the pool is paused)."""
    found, _ = await _read(context, pool)
    return Traffic(found, frozenset(pod["metadata"]["name"] for pod in found if pods.gate(pod)))


async def _read(context: Context, pool: Object) -> tuple[Objects, dict[str, Object]]:
    namespace, labels = pool["metadata"]["namespace"], {POOL: pool["metadata"]["name"]}
    found, live = await asyncio.gather(
        context.kube.list("Pod", namespace, labels), context.kube.list("EndpointSlice", namespace, labels)
    )
    return [pod for pod in found if not relaypods.ended(pod)], {each["metadata"]["name"]: each for each in live}


async def _decide(
    context: Context, pool: Object, spec: RelayPoolSpec
) -> tuple[Traffic, dict[str, Object], list[Object | str]]:
    """Pods, slices as they are, and slices as they should be (or the name of one that has to go), the most urgent first."""
    (found, live), families = await asyncio.gather(_read(context, pool), _families(context, pool))
    relays = [relaypods.relay(pod) for pod in found if pod["status"].get("podIPs")]
    before = _places(pool["metadata"]["name"], live)
    after = placement.place(weights.lanes(shares(relays)), relays, families, before)
    wanted = _objects(pool, spec, before, after, {pod["metadata"]["name"]: pod for pod in found})
    stray = [name for name in live if slices.place_of(pool["metadata"]["name"], name) is None]
    listed = frozenset(
        entry.relay for entries in after.values() for entry in entries if entry.condition is Condition.READY
    )
    return Traffic(found, listed), live, [*wanted, *stray]


async def _families(context: Context, pool: Object) -> list[str]:
    """The address families of the Service. Before there is one, there are no relays either."""
    service = await context.kube.get("Service", pool["metadata"]["namespace"], pool["metadata"]["name"])
    families: list[str] = service["spec"].get("ipFamilies") or ["IPv4"] if service else ["IPv4"]
    return families


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


def _objects(
    pool: Object,
    spec: RelayPoolSpec,
    before: placement.Slices,
    after: placement.Slices,
    known: Mapping[str, Object],
) -> list[Object | str]:
    found: list[Object | str] = []
    for key in placement.order(before, after):
        if key not in after:
            found.append(slices.name(pool["metadata"]["name"], key.family, key.lane, key.part))
            continue
        members = [_endpoint(entry, known[entry.relay]) for entry in after[key]]
        found.append(slices.endpoint_slice(pool, spec.listeners, key.family, key.lane, key.part, members))
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


async def _set_gate(context: Context, pod: Object, traffic: Traffic) -> None:
    listed = pod["metadata"]["name"] in traffic.listed
    message = "takes new connections" if listed else "takes no new connections while others can"
    await pods.set_listed(context.kube, pod, listed, message)
