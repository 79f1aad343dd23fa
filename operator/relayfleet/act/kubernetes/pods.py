"""Marks on relay pods: the readiness gate, and annotations. Written only when they change; a pod that is gone meanwhile is no error."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from relayfleet.api.labels import LISTED
from relayfleet.kube.client import Kube, Object
from relayfleet.kube.errors import KubeInvalid


async def set_listed(kube: Kube, pod: Object, listed: bool, message: str) -> Object | None:
    """Set the readiness gate of a pod, unless it says so already; returns the pod if it was written. A gate that was never set counts as
    false."""
    if gate(pod) == listed:
        return None
    condition = {
        "type": LISTED,
        "status": "True" if listed else "False",
        "reason": "Listed" if listed else "NotListed",
        "message": message,
        "lastTransitionTime": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    # A strategic patch merges conditions by type, so that the kubelet's stay.
    return await _patch(kube, pod, {"status": {"conditions": [condition]}}, kind_of="strategic", subresource="status")


def gate(pod: Object) -> bool:
    """Whether the pod's readiness gate is open."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == LISTED and each["status"] == "True" for each in conditions)


async def annotate(kube: Kube, pod: Object, wanted: Mapping[str, str | None]) -> Object | None:
    """Set annotations (None: remove) that are not so already; returns the pod if it was written."""
    live = pod["metadata"].get("annotations", {})
    changes = {key: value for key, value in wanted.items() if live.get(key) != value}
    return await _patch(kube, pod, {"metadata": {"annotations": changes}}) if changes else None


async def _patch(kube: Kube, pod: Object, body: Object, **how: Any) -> Object | None:
    try:
        return await kube.patch("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"], body, **how)
    except KubeInvalid as error:
        if error.status != 404:
            raise
        return None
