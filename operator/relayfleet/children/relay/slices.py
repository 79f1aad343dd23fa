"""The EndpointSlices of the Service: one for each lane and address family (more for more than 100 relays).

The three conditions are used as kube-proxy reads them: it sends new connections to endpoints that are ready, and only when a Service has
none of those to endpoints that are serving and terminating. So *last resort* is said by "terminating", whether the pod is or not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relayfleet.api.labels import MANAGER, SLICE_MANAGED_BY, SLICE_SERVICE
from relayfleet.api.service import Listener
from relayfleet.children.meta import metadata
from relayfleet.children.relay import names

CONDITIONS = {
    "Ready": {"ready": True, "serving": True, "terminating": False},
    "LastResort": {"ready": False, "serving": True, "terminating": True},
    "Out": {"ready": False, "serving": False, "terminating": False},
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One relay in a slice; `state` is a key of CONDITIONS."""

    address: str
    state: str
    pod: str
    uid: str
    node: str | None = None
    zone: str | None = None


def name(pool: str, family: str, lane: int, part: int) -> str:
    """The name of a slice: always the same for the same place."""
    return f"{pool}-{family.lower()}-{lane}" + (f"-{part}" if part else "")


def place_of(pool: str, slice_name: str) -> tuple[str, int, int] | None:
    """Family, lane and part of a slice by its name; None for a name that we never give."""
    match = re.fullmatch(rf"{re.escape(pool)}-ipv([46])-(\d+)(?:-(\d+))?", slice_name)
    return (f"IPv{match[1]}", int(match[2]), int(match[3] or 0)) if match else None


def endpoint_slice(
    pool: dict[str, Any],
    listeners: Sequence[Listener],
    family: str,
    lane: int,
    part: int,
    endpoints: Sequence[Endpoint],
) -> dict[str, Any]:
    """One slice. `family` is IPv4 or IPv6."""
    pool_name, namespace = pool["metadata"]["name"], pool["metadata"]["namespace"]
    meta = metadata(pool, name(pool_name, family, lane, part))
    meta["labels"] |= {SLICE_SERVICE: pool_name, SLICE_MANAGED_BY: MANAGER}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": family,
        "endpoints": [_endpoint(each, namespace) for each in endpoints],
        "ports": [
            {"name": each.name, "protocol": "TCP", "port": names.listener_port(number, lane)}
            for number, each in enumerate(listeners)
        ],
    }


def _endpoint(endpoint: Endpoint, namespace: str) -> dict[str, Any]:
    where = {"nodeName": endpoint.node, "zone": endpoint.zone}
    return {
        "addresses": [endpoint.address],
        "conditions": dict(CONDITIONS[endpoint.state]),
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": endpoint.pod, "uid": endpoint.uid},
        **{key: value for key, value in where.items() if value},
    }
