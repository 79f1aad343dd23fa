"""The Deployment of the relays. Its rollouts wait for the readiness gate, so they stand still while nobody can list new relays."""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import POOL
from relayfleet.children.meta import metadata
from relayfleet.children.relay import names


def deployment(
    pool: dict[str, Any], replicas: int, template: dict[str, Any], annotations: dict[str, str]
) -> dict[str, Any]:
    """One relay more at a time, none less, and an old one goes only when its successor is in traffic."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(pool, names.of(pool["metadata"]["name"]), annotations),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": {POOL: pool["metadata"]["name"]}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template,
        },
    }
