"""The world outside, inside a region: two sinks, mx1 and mx2, and the DNS server that points mail at them.

All of it lives in the namespace `sink`, stays between runs, and is put right at the start of each. Pods of the region resolve
`example.test` by CoreDNS, which asks our server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from tests.e2e.api import Api, Object
from tests.e2e.region import Region, address_of
from tests.e2e.waiting import rolled_out
from tests.sink.client import SinkClient
from tests.sink.manifests import CONTROL_PORT, dns, dns_service, namespace, sink
from tests.sink.zone import DOMAIN, zone
from tests.testbed import network

NAMESPACE = "sink"
SINKS = ("mx1", "mx2")
DEAD_HOST = 253
"""Number of an address in the test network that nobody has."""
KEEP_RAW = "--keep-raw=2000"


async def install(region: Region, images: Mapping[str, str], texts: Mapping[str, str] = MappingProxyType({})) -> None:
    """Bring up sinks and DNS; `images` has `sink` and `dns`, `texts` the TXT records of `example.test`, by name in it."""
    api = region.api
    await api.apply(namespace(NAMESPACE))
    objects = [each for name in SINKS for each in sink(NAMESPACE, name, images["sink"], KEEP_RAW)]
    await api.apply(*objects, dns_service(NAMESPACE))
    addresses = {name: await _cluster_ip(api, name) for name in SINKS}
    addresses |= {"dead": network.address(DEAD_HOST), "refusing": min((await region.node_addresses()).values())}
    server = dns(NAMESPACE, images["dns"], zone(addresses, texts))
    await api.apply(*server)
    for each in [*objects, *server]:
        if each["kind"] == "Deployment":
            await rolled_out(api, each, 120)
    await asyncio.to_thread(network.forward_zone, region.name, DOMAIN, await _cluster_ip(api, "dns"))


async def clients(region: Region) -> dict[str, SinkClient]:
    """The sinks' control services, by their node ports."""
    address = address_of((await region.api.list("Node"))[0])
    return {name: SinkClient(f"http://{address}:{await _node_port(region.api, name)}") for name in SINKS}


async def _cluster_ip(api: Api, name: str) -> str:
    return str((await _service(api, name))["spec"]["clusterIP"])


async def _node_port(api: Api, name: str) -> int:
    ports = (await _service(api, name))["spec"]["ports"]
    return next(int(each["nodePort"]) for each in ports if each["port"] == CONTROL_PORT)


async def _service(api: Api, name: str) -> Object:
    service = await api.get("Service", NAMESPACE, name)
    assert service is not None, f"Service {NAMESPACE}/{name} is not there"
    return service
