"""The fleet of the scale benchmark as objects. The pools' Deployments are the operator's; what controllers and kubelets would make of
them (pods that run, and the words about it in status) is made here.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import datetime
import itertools
from collections.abc import Coroutine, Iterable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from relayfleet.api.labels import API_VERSION, COMPONENT, NAME, ZONE
from relayfleet.children.relay import names
from tests.bench._scale_relays import BROKER_PORT
from tests.e2e.api import Api, Object
from tests.e2e.objects import relay_pool, sending_ip
from tests.e2e.waiting import wait_for

REGION, NAMESPACE, SYSTEM = "eu", "mail", "relayfleet-system"
FIRST_RELAY, BROKER = IPv4Address("198.18.0.1"), "198.18.126.1"
POOL_SIZE, NODES, AT_ONCE = 50, 10, 16
DEPLOYED = 120.0
"""Seconds that the operator may take to state the children of all pools."""


class Fleet:
    """`relays` by name: each one's pool and address."""

    def __init__(self, api: Api, size: int) -> None:
        self.api, self.size = api, size
        self.relays: dict[str, tuple[str, str]] = {}
        self._numbers = itertools.count()
        self._templates: dict[str, Object] = {}

    @property
    def pools(self) -> dict[str, int]:
        """Relays of each pool."""
        whole, rest = divmod(self.size, POOL_SIZE)
        sizes = [POOL_SIZE] * whole + [rest] * bool(rest)
        return {f"pool-{number}": size for number, size in enumerate(sizes)}

    def addresses(self) -> list[str]:
        """One for each relay."""
        return [str(FIRST_RELAY + number) for number in range(self.size)]

    async def state(self) -> None:
        """What a user states, and the nodes."""
        await self.api.apply(*(_named("Namespace", name) for name in (NAMESPACE, SYSTEM)))
        await self.api.apply(*(_node(number) for number in range(NODES)))
        await self.api.apply(_queue())
        for name, size in self.pools.items():
            source = str(IPv4Address("198.19.0.1") + int(name.removeprefix("pool-")))
            await self.api.apply(sending_ip(NAMESPACE, f"{name}-ip", source, REGION, pool=name))
            await self.api.apply(relay_pool(NAMESPACE, name, replicas=size, service={"type": "ClusterIP"}))

    async def deploy(self, folder: Path) -> None:
        """Wait for the Deployments, and remember what their pods look like. The files of one pool's control port are put into the folder;
        they are good for all pools, having one CA."""
        for name in self.pools:
            get = partial(self.api.get, "Deployment", NAMESPACE, names.of(name))
            found = await wait_for(get, DEPLOYED, f"the Deployment of {name}")
            assert found
            self._templates[name] = found["spec"]["template"]
            await self._settle(found)
        get = partial(self.api.get, "Secret", NAMESPACE, names.control(next(iter(self.pools))))
        secret = await wait_for(get, DEPLOYED, "the Secret of a pool")
        assert secret
        for file, text in secret["data"].items():
            (folder / file).write_bytes(base64.b64decode(text))

    async def fill(self) -> None:
        """A running pod for each relay."""
        owners = [name for name, size in self.pools.items() for _ in range(size)]
        await _together(self.add(pool, address) for pool, address in zip(owners, self.addresses(), strict=True))

    async def add(self, pool: str, address: str) -> str:
        """One more relay, as a new pod that serves already."""
        number = next(self._numbers)
        name = f"{names.of(pool)}-{number:05d}"
        pod = copy.deepcopy(self._templates[pool])
        pod |= {"apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] |= {"namespace": NAMESPACE, "name": name}
        pod["spec"] |= {"nodeName": f"node-{number % NODES}"}
        await self.api.apply(pod)
        await self.api.patch("Pod", NAMESPACE, name, {"status": running(address)}, "status")
        self.relays[name] = (pool, address)
        return name

    async def remove(self, name: str) -> None:
        """The pod is gone at once."""
        del self.relays[name]
        await self.api.delete("Pod", NAMESPACE, name, grace=0)

    async def _settle(self, deployment: Object) -> None:
        """As the Deployment controller reports when all is done."""
        count, generation = deployment["spec"]["replicas"], deployment["metadata"]["generation"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
        status = {"status": {"observedGeneration": generation, **counts}}
        await self.api.patch("Deployment", NAMESPACE, deployment["metadata"]["name"], status, "status")


def running(address: str) -> Object:
    """Status of a pod whose containers are ready."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    types = ("PodScheduled", "Initialized", "ContainersReady")
    conditions = [{"type": each, "status": "True", "lastTransitionTime": now} for each in types]
    container = {"name": "relay", "ready": True, "started": True, "restartCount": 0, "image": "relay", "imageID": "x"}
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": conditions,
        "containerStatuses": [container | {"state": {"running": {"startedAt": now}}}],
        "startTime": now,
    }


def operator_pod(name: str, number: int) -> Object:
    """A replica of the operator, for the others to find its prober."""
    pod = _named("Pod", name, namespace=SYSTEM, labels={NAME: "relayfleet", COMPONENT: "operator"})
    return pod | {"spec": {"nodeName": f"node-{number}", "containers": [{"name": "operator", "image": "operator"}]}}


def _queue() -> Object:
    spec = {
        "type": "External",
        "external": {"addresses": [f"{BROKER}:{BROKER_PORT}"], "credentialsRef": {"name": "broker"}},
    }
    queue = {"apiVersion": API_VERSION, "kind": "QueueCluster", "spec": spec}
    return queue | {"metadata": {"namespace": NAMESPACE, "name": "mail"}}


def _node(number: int) -> Object:
    return _named("Node", f"node-{number}", labels={ZONE: f"zone-{number % 3}"})


def _named(kind: str, name: str, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **metadata}}


async def _together(work: Iterable[Coroutine[Any, Any, Any]]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(each: Coroutine[Any, Any, Any]) -> None:
        async with gate:
            await each

    await asyncio.gather(*(one(each) for each in work))
