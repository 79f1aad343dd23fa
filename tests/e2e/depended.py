"""What pools of tests depend on: a PostgreSQL and name servers (BIND), both from Debian, in the fleet's own namespace."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.e2e.api import Object, Objects
from tests.e2e.fleet import Fleet
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, wait_for
from tests.sink.manifests import deployment, dns, dns_service, service
from tests.sink.zone import zone

SQL = 5432
DNS = 53
"""Port of the containers too: a NetworkPolicy looks at the port of the pod, behind the Service."""
USER, PASSWORD, DATABASE = "asker", "correct horse", "postgres"
STARTS = 90.0


def database(namespace: str, name: str, image: str) -> Objects:
    """A PostgreSQL, its Service, and the Secret with user and password: all of one name."""
    container: Object = {
        "name": "database",
        "image": image,
        "ports": [{"containerPort": SQL}],
        "readinessProbe": {"tcpSocket": {"port": SQL}, "periodSeconds": 1},
        "volumeMounts": [{"name": "credentials", "mountPath": "/credentials"}],
    }
    ports = [{"name": "sql", "port": SQL, "targetPort": SQL}]
    data = {key: base64.b64encode(text.encode()).decode() for key, text in (("username", USER), ("password", PASSWORD))}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}, "data": data}
    volumes = [{"name": "credentials", "secret": {"secretName": name}}]
    return [secret, service(namespace, name, ports, "ClusterIP"), deployment(namespace, name, container, volumes)]


@asynccontextmanager
async def served(region: Region, fleet: Fleet, *objects: Object) -> AsyncIterator[None]:
    """They are there, and their pods ready, while the block runs."""
    await region.apply(*objects)
    try:
        for each in objects:
            if each["kind"] == "Deployment":
                await pod_of(region, fleet, each["metadata"]["name"])
        yield
    finally:
        for each in objects:
            await region.api.delete(each["kind"], fleet.namespace, each["metadata"]["name"])


@asynccontextmanager
async def name_server(region: Region, fleet: Fleet, name: str, image: str) -> AsyncIterator[str]:
    """A BIND that knows the zone of the test mail, as the one of the receiving side does; its address."""
    addresses = {each: await _cluster_ip(region, "sink", each) for each in ("mx1", "mx2")} | dict.fromkeys(
        ("dead", "refusing"), "198.18.0.1"
    )
    objects = [dns_service(fleet.namespace, name, DNS), *dns(fleet.namespace, image, zone(addresses), name, DNS)]
    async with served(region, fleet, *objects):
        yield await _cluster_ip(region, fleet.namespace, name)


async def pod_of(region: Region, fleet: Fleet, name: str) -> str:
    """The one pod of a deployment, as soon as it is ready."""

    async def ready() -> str:
        pods = await region.api.list("Pod", fleet.namespace, {"app": name})
        states: Mapping[str, list[Object]] = {
            each["metadata"]["name"]: each["status"].get("containerStatuses", []) for each in pods
        }
        found = [pod for pod, statuses in states.items() if statuses and all(each["ready"] for each in statuses)]
        if len(found) != 1:
            raise NotYet(str(states))
        return found[0]

    return await wait_for(ready, STARTS, f"the pod of {name} is ready")


async def scaled(region: Region, fleet: Fleet, name: str, replicas: int) -> None:
    """With no replica nobody is there at all."""
    await region.api.patch("Deployment", fleet.namespace, name, {"spec": {"replicas": replicas}})


async def _cluster_ip(region: Region, namespace: str, name: str) -> str:
    found = await region.api.get("Service", namespace, name)
    assert found is not None, f"Service {namespace}/{name} is not there"
    return str(found["spec"]["clusterIP"])
