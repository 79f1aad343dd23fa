"""Which event wakes which names. kopf watches; a handler only says what has to be looked at again.

Everything else is level-triggered: the work reads what is there now. kopf therefore keeps no progress on the objects, adds no
finalizers and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import kopf

from relayfleet.api.labels import GROUP, MANAGED_BY, MANAGER, POOL, QUEUE, VERSION
from relayfleet.children.relay import broker
from relayfleet.controllers.undiffed import NoDiffs
from relayfleet.kube.mirror import Mirror
from relayfleet.runtime.liveness import Liveness
from relayfleet.runtime.workqueue import Key, WorkQueue

OURS = {"RelayPool": "relaypools", "SendingIP": "sendingips", "QueueCluster": "queueclusters"}

CHILDREN = (
    ("apps", "v1", "deployments"),
    ("apps", "v1", "statefulsets"),
    ("discovery.k8s.io", "v1", "endpointslices"),
    ("networking.k8s.io", "v1", "networkpolicies"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("", "v1", "configmaps"),
    ("", "v1", "pods"),
    ("", "v1", "serviceaccounts"),
    ("", "v1", "services"),
)
"""Watched by label. Not Secrets: watching them would need the right to list everybody's. They are read by name instead, now and then."""

OWNERS = {POOL: "RelayPool", QUEUE: "QueueCluster"}

MIRRORED = {"pods": "Pod", "endpointslices": "EndpointSlice", "services": "Service"}
"""What the traffic of a pool depends on: kept in the mirror, besides the pool itself."""

SILENT_WATCH, CONNECT, REQUEST = 70.0, 5.0, 30.0
"""Seconds: a watch in which not even a bookmark came for so long (the API server sends one a minute) is begun anew; to connect; and for one
list, since kopf would wait five minutes for one that is frozen, and a watch begins with one."""

ATTENTIVE = 600.0
"""Seconds for which kopf keeps a task for each object that it heard of. To begin one takes several turns of the loop, one object after the other:
with its five seconds, news of a thousand pods in a minute was a minute old."""

TRAFFIC = "Traffic"
"""Kind of the keys of the traffic queue; the name is the pool's. Traffic has a queue and workers of its own, so that neither thousands of
SendingIPs at a start nor a slow child holds it up."""


USERS = "Users"
"""Kind of the keys of the queue of relays' users at the brokers; the name is the QueueCluster's. It has workers of its own, too: brokers that do
not answer hold up nothing else."""


class Wiring:
    """Knows which resources exist (so that one can wake its neighbours) and feeds the work queues."""

    def __init__(
        self, queue: WorkQueue, traffic: WorkQueue, users: WorkQueue, liveness: Liveness, mirror: Mirror
    ) -> None:
        self._queue = queue
        self._users = users
        self._mirror = mirror
        self._traffic = traffic
        self._liveness = liveness
        self._known: dict[Key, str] = {}  # with the address of a SendingIP, else ""

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Add the handlers to a kopf registry."""
        for kind, plural in OURS.items():
            kopf.on.event(GROUP, VERSION, plural, registry=registry, id=f"see-{plural}", param=kind)(self._resource)
        for group, version, plural in CHILDREN:
            kopf.on.event(
                group,
                version,
                plural,
                registry=registry,
                id=f"see-{plural}",
                labels={MANAGED_BY: MANAGER},
                param=plural,
            )(self._child)

    @staticmethod
    def configure(settings: kopf.OperatorSettings) -> None:
        """Ask the API server for our children only, and write nothing about them."""
        for group, version, plural in CHILDREN:
            resource = f"{plural}.{version}.{group}" if group else f"{plural}.{version}"
            settings.watching.label_selectors[resource] = f"{MANAGED_BY}={MANAGER}"
        settings.watching.inactivity_timeout = SILENT_WATCH
        settings.queueing.idle_timeout = ATTENTIVE
        settings.networking.connect_timeout = CONNECT
        settings.networking.request_timeout = REQUEST
        settings.persistence.diffbase_storage = NoDiffs()
        settings.posting.enabled = False
        settings.scanning.disabled = True  # or kopf would need the right to watch all CRDs and namespaces

    async def _resource(self, param: str, event: dict[str, Any], **_: Any) -> None:
        obj = event["object"]
        self._liveness.saw(param)
        key = Key(param, obj["metadata"]["namespace"], obj["metadata"]["name"])
        before = self._known.get(key)
        if event["type"] == "DELETED":
            self._known.pop(key, None)
        else:
            self._known[key] = str(obj.get("spec", {}).get("address", ""))
        if param == "RelayPool":
            self._mirrored(param, event)
            self._traffic.add(Key(TRAFFIC, key.namespace, key.name))
        if param == "QueueCluster":
            self._users.add(Key(USERS, key.namespace, key.name))
        self._queue.add(key)
        for neighbour in self._neighbours(key, {before, self._known.get(key)} - {None, ""}):
            self._queue.add(neighbour)

    def _mirrored(self, kind: str, event: dict[str, Any]) -> bool:
        """Whether it is news. What traffic work wrote or fetched itself is none, nor is most of what a watch lists when it begins."""
        if event["type"] == "DELETED":
            self._mirror.drop(kind, event["object"])
            return True
        return self._mirror.put(kind, event["object"])

    def _neighbours(self, key: Key, addresses: set[str | None]) -> Iterable[Key]:
        """A SendingIP: the pools of its namespace, and whoever claims its address. A queue: its pools. A pool: its SendingIPs and queue."""
        for other, address in self._known.items():
            near = other.namespace == key.namespace and other.kind != key.kind
            if other != key and (near or (key.kind == "SendingIP" and address in addresses)):
                yield other

    async def _child(self, param: str, event: dict[str, Any], **_: Any) -> None:
        metadata = event["object"]["metadata"]
        self._liveness.saw(param)
        labels = metadata.get("labels", {})
        if POOL in labels and param in MIRRORED and self._mirrored(MIRRORED[param], event):
            self._traffic.add(Key(TRAFFIC, metadata["namespace"], labels[POOL]))
        if param == "pods" and (queue := labels.get(QUEUE) or broker.queue_of(event["object"])):
            self._users.add(Key(USERS, metadata["namespace"], queue))
        for label, kind in OWNERS.items():
            if label in labels:
                self._queue.add(Key(kind, metadata["namespace"], labels[label]))
