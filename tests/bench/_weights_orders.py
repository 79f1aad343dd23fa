"""What the operator orders: relays with their places in traffic, made into EndpointSlices by its own code and written by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relayfleet.act.kubernetes import endpoints
from relayfleet.api.labels import API_VERSION, SLICE_SERVICE
from relayfleet.api.service import Listener, ServiceSettings
from relayfleet.children.relay import service, slices
from relayfleet.decide import weights
from relayfleet.decide.pool import placement
from relayfleet.decide.pool.listing import shares
from relayfleet.decide.pool.relays import Relay
from relayfleet.decide.weights import Condition
from relayfleet.kube.client import Kube, Object

NAMESPACE, POOL, FAMILY, PORT = "bench", "weights", "IPv4", 25
LISTENERS = [Listener(name="smtp", port=PORT, tls="None")]
OWNER: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "RelayPool",
    "metadata": {"name": POOL, "namespace": NAMESPACE, "uid": "00000000-0000-4000-8000-000000000000"},
}


def wanted(relays: Sequence[Relay]) -> dict[str, float]:
    """The part of the traffic (0 to 1) that each address should get: by weight alone, nothing of lanes."""
    quarters = {share.relay: share.quarters for share in shares(relays) if share.condition is Condition.READY}
    total = sum(quarters.values())
    return {each.addresses[FAMILY]: quarters.get(each.name, 0) / total for each in relays}


class Orders:
    """The Service and its slices as they were last written."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._placed: placement.Slices = {}

    async def serve(self) -> str:
        """Create namespace and Service; returns the ClusterIP."""
        await self._kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        made = await self._kube.create(service.service(OWNER, ServiceSettings(), LISTENERS))
        return str(made["spec"]["clusterIP"])

    async def write(self, relays: Sequence[Relay]) -> None:
        """Steer traffic by the places of these relays."""
        found = await self._kube.list("EndpointSlice", NAMESPACE, {SLICE_SERVICE: POOL})
        after = placement.place(weights.lanes(shares(relays)), relays, [FAMILY], self._placed)
        await endpoints.write(self._kube, {each["metadata"]["name"]: each for each in found}, self._objects(after))
        self._placed = after

    def _objects(self, after: placement.Slices) -> list[Object | str]:
        return [_object(after, key) for key in placement.order(self._placed, after)]


def _object(after: Mapping[placement.Key, tuple[placement.Entry, ...]], key: placement.Key) -> Object | str:
    place = (key.family, key.lane, key.part)
    if key not in after:
        return slices.name(POOL, *place)
    members = [slices.Endpoint(each.address, each.condition.value, each.relay, each.relay) for each in after[key]]
    return slices.endpoint_slice(OWNER, LISTENERS, *place, members)
