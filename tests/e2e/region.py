"""A region as tests see it: its API server, its kubectl, its addresses, and the sinks in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.e2e.api import Api, Object, Objects
from tests.sink.client import SinkClient
from tests.testbed import clusters
from tests.testbed.settings import Region as Place


@dataclass(slots=True)
class Region:
    """`sinks`: the receiving servers mx1 and mx2, once the fixture `receiving` has brought them up."""

    place: Place
    api: Api
    sinks: dict[str, SinkClient] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.place.name

    async def apply(self, *manifests: Object | str) -> Objects:
        """Apply objects, or YAML texts with any number of documents, in this order."""
        return await self.api.apply(*(each for manifest in manifests for each in _objects(manifest)))

    async def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60.0) -> str:
        """What kubectl prints; TestbedError with its words when it fails."""
        return await asyncio.to_thread(clusters.kubectl, self.name, *arguments, stdin=stdin, timeout=seconds)

    async def execute(
        self, namespace: str, pod: str, *command: str, stdin: str | None = None, seconds: float = 60.0
    ) -> str:
        """What a command in a pod prints."""
        flags = ("-i",) if stdin is not None else ()
        return await self.kubectl("exec", "-n", namespace, *flags, pod, "--", *command, stdin=stdin, seconds=seconds)

    async def end_pods(self, namespace: str) -> None:
        """Leave all pods of a namespace a second. Brokers that have to go all at once wait for each other, half a minute and longer, and burn CPU
        with two more Erlang machines each: nothing to share two cores with for a test of something else."""
        for pod in await self.api.list("Pod", namespace):
            await self.api.delete("Pod", namespace, pod["metadata"]["name"], grace=1)

    async def node_addresses(self) -> dict[str, str]:
        """Each node's own address, reachable from this machine."""
        nodes = await self.api.list("Node")
        return {node["metadata"]["name"]: address_of(node) for node in nodes}


def address_of(node: Object) -> str:
    """The InternalIP of a node."""
    addresses: list[dict[str, Any]] = node["status"]["addresses"]
    return next(str(each["address"]) for each in addresses if each["type"] == "InternalIP")


def _objects(manifest: Object | str) -> Objects:
    if isinstance(manifest, str):
        return [document for document in yaml.safe_load_all(manifest) if document]
    return [manifest]
