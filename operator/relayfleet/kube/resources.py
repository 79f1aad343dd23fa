"""Where each kind that we use lives in the API. A table instead of discovery: one request less at start, and no surprise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relayfleet.api.labels import API_VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind: its API version, its name in URLs, and whether it lives in namespaces."""

    api_version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, or of one object."""
        prefix = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        parts = [prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *filter(None, (name, subresource))])


RESOURCES = {
    "ConfigMap": Resource("v1", "configmaps"),
    "Deployment": Resource("apps/v1", "deployments"),
    "EndpointSlice": Resource("discovery.k8s.io/v1", "endpointslices"),
    "Event": Resource("v1", "events"),
    "Lease": Resource("coordination.k8s.io/v1", "leases"),
    "Namespace": Resource("v1", "namespaces", namespaced=False),
    "NetworkPolicy": Resource("networking.k8s.io/v1", "networkpolicies"),
    "Node": Resource("v1", "nodes", namespaced=False),
    "PersistentVolumeClaim": Resource("v1", "persistentvolumeclaims"),
    "Pod": Resource("v1", "pods"),
    "PodDisruptionBudget": Resource("policy/v1", "poddisruptionbudgets"),
    "QueueCluster": Resource(API_VERSION, "queueclusters"),
    "RelayPool": Resource(API_VERSION, "relaypools"),
    "Secret": Resource("v1", "secrets"),
    "SendingIP": Resource(API_VERSION, "sendingips"),
    "Service": Resource("v1", "services"),
    "ServiceAccount": Resource("v1", "serviceaccounts"),
    "StatefulSet": Resource("apps/v1", "statefulsets"),
}


def resource_of(obj: dict[str, Any]) -> Resource:
    """The table's entry for an object. Raises KeyError for a kind, ValueError for a version, that is not in the table."""
    resource = RESOURCES[obj["kind"]]
    if obj["apiVersion"] != resource.api_version:
        raise ValueError(f"{obj['kind']} is {resource.api_version}, not {obj['apiVersion']}")
    return resource
