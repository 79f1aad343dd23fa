"""The PodDisruptionBudget: drains of nodes take one relay at a time.

A relay that was evicted comes back somewhere else, but counts as healthy only when it is listed for traffic. While the operator is gone
nobody lists it, so no further eviction is allowed and the relays that are left go on. Hence IfHealthyBudget as well: AlwaysAllow would
let a drain evict relays that are not ready but are the pool's last resort. The price: a pool all of whose relays are broken holds up
drains until it is mended or scaled down.
"""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import POOL
from relayfleet.children.meta import metadata
from relayfleet.children.relay import names


def disruption_budget(pool: dict[str, Any]) -> dict[str, Any]:
    """At most one relay of the pool may be missing by somebody's will."""
    name = pool["metadata"]["name"]
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(pool, names.of(name)),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "IfHealthyBudget",
            "selector": {"matchLabels": {POOL: name}},
        },
    }
