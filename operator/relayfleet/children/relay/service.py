"""The Service that clients use. It has no selector: its endpoints are the operator's (see `slices.py`)."""

from __future__ import annotations

from typing import Any

from relayfleet.api.service import Listener, ServiceSettings
from relayfleet.children.meta import metadata


def service(pool: dict[str, Any], settings: ServiceSettings, listeners: list[Listener]) -> dict[str, Any]:
    """The Service of a pool, named like it."""
    spec: dict[str, Any] = {"type": settings.type, "ports": [_port(each) for each in listeners]}
    if settings.type != "ClusterIP":
        spec["externalTrafficPolicy"] = settings.external_traffic_policy
    if settings.type == "LoadBalancer" and settings.load_balancer_class:
        spec["loadBalancerClass"] = settings.load_balancer_class
    if settings.ip_family_policy:
        spec["ipFamilyPolicy"] = settings.ip_family_policy
    if settings.ip_families:
        spec["ipFamilies"] = list(settings.ip_families)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(pool, pool["metadata"]["name"], dict(settings.annotations) or None),
        "spec": spec,
    }


def _port(listener: Listener) -> dict[str, Any]:
    # What the relays listen on is in the slices. A target port says nothing without a selector; the API server fills one in.
    port: dict[str, Any] = {"name": listener.name, "port": listener.port, "protocol": "TCP"}
    return port | ({"nodePort": listener.node_port} if listener.node_port else {})
