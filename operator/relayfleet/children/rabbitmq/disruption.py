"""The disruption budget: of the brokers, drains take one at a time."""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import QUEUE
from relayfleet.children.meta import metadata
from relayfleet.children.rabbitmq import names


def disruption_budget(queue: dict[str, Any]) -> dict[str, Any]:
    """A second broker goes only when the first is back, so that a majority is never at stake."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(queue, names.base(queue)),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {QUEUE: queue["metadata"]["name"]}}},
    }
