"""A fleet that several tests share: the operator in both regions, a queue and a pool of relays in each, ready to take mail.

Bringing up six brokers costs the better part of a minute, so tests that leave the fleet as they found it use this one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from relayfleet.api.labels import CORDON
from tests.e2e import operating, waiting
from tests.e2e.api import Api, Object, access
from tests.e2e.mailing import POD, Account, client_pod
from tests.e2e.objects import certificate, queue_cluster, relay_pool, sending_ip, submitters
from tests.e2e.region import Region
from tests.sink.manifests import namespace as namespace_object
from tests.testbed.settings import Region as Place

# The fleet's relays stay in traffic whatever their evidence says: on a machine of two cores that also runs brokers which come and go they stand
# still for longer than a relay may, and a test of something else should not wait for one that is out. `test_health` has pools of its own.
NAMESPACE = "fleet"
POOL, QUEUE = "tx", "mail"
USER, PASSWORD = "sender@example.test", "correct horse"
ADDRESSES = {"eu": "203.0.113.11", "us": "203.0.113.21"}  # not those of the samples
RELAYS = {"eu": 3, "us": 2}
"""What stops, dies and is scaled under traffic does so in eu."""
READY_SECONDS = 240.0
GONE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Names of what is there, the same in both regions."""

    namespace: str = NAMESPACE
    pool: str = POOL
    queue: str = QUEUE

    @property
    def inside(self) -> Account:
        """How a pod of the cluster submits."""
        return Account(f"{self.pool}.{self.namespace}", 587, USER, PASSWORD)


def manifests(images: Mapping[str, str], replicas: int) -> list[Object]:
    """Everything that a user applies, and a pod to send from. The same for both regions, but for the number of relays."""
    return [
        namespace_object(NAMESPACE),
        submitters(NAMESPACE, {USER: PASSWORD}),
        certificate("smtp.example.test").secret(NAMESPACE),
        queue_cluster(NAMESPACE, QUEUE),
        *(sending_ip(NAMESPACE, f"{region}-1", address, region, POOL) for region, address in ADDRESSES.items()),
        relay_pool(NAMESPACE, POOL, QUEUE, replicas, template={"annotations": {CORDON: "None"}}),
        client_pod(NAMESPACE, images["mailclient"]),
    ]


async def bring_up(region: Region, images: Mapping[str, str]) -> None:
    """Install, apply, and return when all is ready. What an earlier run left broken is made anew; what is new has to come up."""
    left = await region.api.get("Namespace", None, NAMESPACE) is not None
    await region.api.delete("Namespace", None, "mail")  # of the demo: the machine is too small for both
    await operating.install(region, images)
    await region.apply(*manifests(images, RELAYS[region.name]))
    try:
        await well(region)
    except AssertionError as error:
        if not left:
            raise
        print(f"the fleet of an earlier run is not well in {region.name}, and made anew: {error}")
        await made_anew(region, images)
    await _client_running(region)


async def well(region: Region) -> None:
    """Return when queue and pool have all that they ask for: an earlier test may have taken something from them. What they say may be of before
    that, while the operator is away or its leader changes, so what Kubernetes says of their pods counts too."""
    deadline = time.monotonic() + READY_SECONDS

    def left() -> float:
        return max(deadline - time.monotonic(), 0)

    for workload in _WORKLOADS:
        await waiting.rolled_out(region.api, workload, left())
    for obj in (queue_cluster(NAMESPACE, QUEUE), relay_pool(NAMESPACE, POOL, QUEUE)):
        for kind, status in (("Ready", "True"), ("Degraded", "False"), ("Reconciling", "False")):
            await waiting.condition(region.api, obj, kind, status, left())


_WORKLOADS: tuple[Object, ...] = (
    {"kind": "StatefulSet", "metadata": {"namespace": NAMESPACE, "name": f"{QUEUE}-rabbitmq"}},
    {"kind": "Deployment", "metadata": {"namespace": NAMESPACE, "name": f"{POOL}-relay"}},
)


async def mended(region: Region, images: Mapping[str, str]) -> None:
    """Put right what a test that failed may have left: nodes that take no pods, an operator that is away, other manifests."""
    for node in region.place.nodes:
        await region.kubectl("uncordon", node)
    await operating.install(region, images)
    await region.apply(*manifests(images, RELAYS[region.name]))


async def made_anew(region: Region, images: Mapping[str, str]) -> None:
    """Bring the fleet up from nothing, for what cannot heal by itself: keys that are lost, say. The mail in it is lost with it."""
    await region.end_pods(NAMESPACE)
    await region.api.delete("Namespace", None, NAMESPACE)
    await waiting.gone(region.api, namespace_object(NAMESPACE), GONE_SECONDS)
    await bring_up(region, images)


async def _client_running(region: Region) -> None:
    async def running() -> bool:
        pod = await region.api.get("Pod", NAMESPACE, POD)
        return pod is not None and pod["status"].get("phase") == "Running"

    await waiting.wait_for(running, 60, f"Pod {NAMESPACE}/{POD} in {region.name}")


def bring_up_everywhere(places: Mapping[str, Place], images: Mapping[str, str]) -> None:
    """The same from code that has no loop yet: a fixture for the whole session."""

    async def one(place: Place) -> None:
        async with Api(access(place.kubeconfig)) as api:
            await bring_up(Region(place, api), images)

    async def everywhere() -> None:
        await asyncio.gather(*(one(place) for place in places.values()))

    asyncio.run(everywhere())
