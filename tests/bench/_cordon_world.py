"""What the faults hit: a pool of relays under the operator, and its peer: the same relays behind an ordinary Service with a readiness probe."""

from __future__ import annotations

import asyncio
import copy
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from relayfleet.api.labels import CORDON, POOL, QUEUE, SLICE_SERVICE
from relayfleet.children.relay import names
from relayfleet.protocol import brokeruser
from tests.bench._cordon_pods import Pod, located
from tests.bench._cordon_watch import Seen
from tests.e2e import operating, receiving, waiting
from tests.e2e.api import Api, Object, access
from tests.e2e.mailing import POD as CLIENT
from tests.e2e.mailing import client_pod
from tests.e2e.objects import queue_cluster, relay_pool, sending_ip
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for
from tests.sink.manifests import namespace as namespace_object
from tests.testbed import loading
from tests.testbed.faults import paused_region
from tests.testbed.images import build_all, references
from tests.testbed.settings import REGIONS

REGION = "eu"
NAMESPACE, OURS, PEER, FOREIGN = "bench", "tx", "peer", "foreign"
RELAYS = 4
ADDRESS = "203.0.113.12"
UP_SECONDS, DOWN_SECONDS, AGAIN_SECONDS = 240.0, 180.0, 120.0
LEADERS, LEADER_SECONDS = 4, 8.0
LABELS = {OURS: {POOL: OURS}, PEER: {"app": PEER}}


@dataclass(frozen=True, slots=True)
class World:
    """The region, where the two Services are (host:port), the pod of the clients, and which of the Services have relays."""

    region: Region
    targets: dict[str, str]
    client: Pod
    services: list[str]

    async def pods(self, service: str) -> list[Object]:
        """The relays of a Service that are not on their way out."""
        found = await self.region.api.list("Pod", NAMESPACE, LABELS[service])
        return [each for each in found if not each["metadata"].get("deletionTimestamp")]

    async def victim(self, service: str, number: int, away: str = "") -> Pod:
        """One of the relays, on another node than `away`."""
        found = [each for each in await self.pods(service) if each["spec"]["nodeName"] != away]
        pods = sorted(found, key=lambda each: str(each["metadata"]["name"]))
        return located(pods[number % len(pods)])

    async def operators(self) -> frozenset[str]:
        """Addresses of the operator's pods: SYNs from there are probes."""
        return frozenset(str(each["status"].get("podIP")) for each in await operating.replicas(self.region))

    async def forgiven(self, seen: Seen) -> None:
        """Every relay starts afresh, as a person may order it: no trial inherits dwell times, penalties or ramps from another, nor the kubelet's delays
        before it starts a container again."""
        for service in self.services:
            for pod in await self.pods(service):
                if any(each.get("restartCount") for each in pod["status"].get("containerStatuses") or []):
                    await self.region.api.delete("Pod", NAMESPACE, str(pod["metadata"]["name"]), grace=0)
        await self._kept_in_traffic("None")
        await self.whole(seen)
        await self._kept_in_traffic(None)
        await self.whole(seen)

    async def _kept_in_traffic(self, word: str | None) -> None:
        body = {"metadata": {"annotations": {CORDON: word}}}
        for pod in await self.pods(OURS):
            await self.region.api.patch("Pod", NAMESPACE, str(pod["metadata"]["name"]), body)

    async def whole(self, seen: Seen) -> None:
        """Return when both Services list all their relays with equal weights, and no others."""

        async def holds() -> bool:
            for service in self.services:
                wanted = {each["status"].get("podIP") for each in await self.pods(service)}
                if len(wanted) != RELAYS or seen.ready(service) != wanted:
                    raise NotYet(f"{service} lists {sorted(seen.ready(service))}, its pods have {wanted}")
                if (lanes := seen.lanes(service)) != 1:
                    raise NotYet(f"{service} has {lanes} weight lanes")
            return True

        await wait_for(holds, AGAIN_SECONDS, "all relays take traffic again")

    async def dismiss_peer(self) -> None:
        """Remove the peer's relays."""
        if PEER in self.services:
            self.services.remove(PEER)
            await self.region.api.delete("Deployment", NAMESPACE, PEER)

    async def replace(self, pod: Pod) -> None:
        """A new relay for one that was killed: no trial inherits the kubelet's restart delays from another."""
        await self.region.api.delete("Pod", NAMESPACE, pod.name, grace=0)

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Every second an EndpointSlice changes that is none of ours: kube-proxy has other things to do too."""
        changing = asyncio.create_task(_change_foreign_slice(self.region))
        try:
            yield
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)

    async def leaders_node(self) -> str:
        """The node of the operator's leader; another replica is made the leader when the clients are on that node."""
        for _ in range(LEADERS):
            name, _ = await operating.leader(self.region)
            found = {str(each["metadata"]["name"]): each for each in await operating.replicas(self.region)}
            if name in found and found[name]["spec"]["nodeName"] != self.client.node:
                return str(found[name]["spec"]["nodeName"])
            if name in found:
                await self.region.api.delete("Pod", operating.NAMESPACE, name)
            await asyncio.sleep(LEADER_SECONDS)
        raise NotYet(f"no leader away from {self.client.node}, where the clients are")

    async def clear_sinks(self) -> None:
        """Forget the mails that arrived."""
        for each in self.region.sinks.values():
            await each.reset()


async def _change_foreign_slice(region: Region) -> None:
    for turn in itertools.count():
        endpoints = [{"addresses": [f"198.18.255.{1 + turn % 250}"], "conditions": {"ready": True}}]
        await region.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"namespace": NAMESPACE, "name": FOREIGN, "labels": {SLICE_SERVICE: FOREIGN}},
                "addressType": "IPv4",
                "endpoints": endpoints,
                "ports": [{"name": "smtp", "protocol": "TCP", "port": 25}],
            }
        )
        await asyncio.sleep(1)


@contextmanager
def alone(longest: float) -> Iterator[None]:
    """All other regions stand still within the block, and for `longest` seconds at most."""
    with ExitStack() as stack:
        for name in set(REGIONS) - {REGION}:
            stack.enter_context(paused_region(name, longest))
        yield


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Brought up in one region, and removed again."""
    place = REGIONS[REGION]
    async with Api(access(place.kubeconfig)) as api:
        region = Region(place, api)
        try:
            await _remove(region)
            await _bring_up(region)
            region.sinks = await receiving.clients(region)
            yield await _described(region)
        finally:
            await _remove(region)


async def _remove(region: Region) -> None:
    await region.api.delete("Namespace", None, NAMESPACE)
    await waiting.gone(region.api, namespace_object(NAMESPACE), DOWN_SECONDS)


async def _bring_up(region: Region) -> None:
    """With CORDON_OPERATOR=installed the operator and the sinks that are there are taken as they are."""
    if os.environ.get("CORDON_OPERATOR") == "installed":
        images = references()
    else:
        images = await asyncio.to_thread(build_all)
        await asyncio.to_thread(loading.load, images.values())
        await receiving.install(region, images)
        await operating.install(region, images)
    pool, queue = _pool(region), queue_cluster(NAMESPACE)
    address = sending_ip(NAMESPACE, "bench-1", ADDRESS, region.name, OURS)
    await region.apply(namespace_object(NAMESPACE), queue, address, pool)
    await wait_for(lambda: region.api.get("ServiceAccount", NAMESPACE, "default"), 30, "the default ServiceAccount")
    await region.apply(client_pod(NAMESPACE, images["mailclient"]))
    await waiting.ready(region.api, queue, pool, budget=UP_SECONDS)
    await waiting.condition(region.api, pool, "Degraded", "False", UP_SECONDS)
    peer = await _peer(region)
    await region.apply(*peer)
    await waiting.rolled_out(region.api, peer[0], UP_SECONDS)


def _pool(region: Region) -> Object:
    """Plain SMTP without AUTH, so that two cores carry the clients beside everything else."""
    listeners = [{"name": "smtp", "port": 25, "tls": "None"}]
    allowed = [region.place.pods]
    pool = relay_pool(NAMESPACE, OURS, "mail", RELAYS, listeners=listeners, allowedNetworks=allowed)
    for unused in ("authSecretRef", "tlsSecretRef", "service"):
        pool["spec"].pop(unused)
    return pool


async def _peer(region: Region) -> list[Object]:
    """Deployment and Service. Image, files and resources are those of the operator's own Deployment."""
    found = await region.api.get("Deployment", NAMESPACE, names.of(OURS))
    assert found is not None
    template: dict[str, Any] = copy.deepcopy(found["spec"]["template"])
    template["metadata"] = {"labels": LABELS[PEER]}
    spec = template["spec"]
    spec.pop("readinessGates", None)
    spec.pop("topologySpreadConstraints", None)
    container, probe = spec["containers"][0], spec["containers"][0]["readinessProbe"]
    # The operator makes broker users for relays of its pools only.
    container["env"] = [each for each in container["env"] if each["name"] != brokeruser.VARIABLE]
    probe |= {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 1}
    metadata = {"namespace": NAMESPACE, "name": PEER}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"replicas": RELAYS, "selector": {"matchLabels": LABELS[PEER]}, "template": template},
    }
    ports = [{"name": "smtp", "port": 25, "targetPort": names.listener_port(0, 0)}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": LABELS[PEER], "ports": ports},
    }
    # Brokers answer relays of the operator's pools only.
    allowed = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": {QUEUE: "mail"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": LABELS[PEER]}}]}],
        },
    }
    return [deployment, service, allowed]


async def _described(region: Region) -> World:
    targets = {}
    for name in (OURS, PEER):
        service = await region.api.get("Service", NAMESPACE, name)
        assert service is not None
        targets[name] = f"{service['spec']['clusterIP']}:25"

    async def running() -> Object:
        pod = await region.api.get("Pod", NAMESPACE, CLIENT)
        if pod is None or pod["status"].get("phase") != "Running":
            raise NotYet("the clients' pod does not run")
        return pod

    client = located(await wait_for(running, 60, "the clients' pod runs"))
    return World(region, targets, client, [OURS, PEER])
