"""The headless Service that gives each broker a name of its own."""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import QUEUE
from relayfleet.children.meta import metadata
from relayfleet.children.rabbitmq import names


def service(queue: dict[str, Any]) -> dict[str, Any]:
    """Names exist before brokers are ready: they need each other's to become it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(queue, names.base(queue)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {QUEUE: queue["metadata"]["name"]},
            "ports": [
                {"name": "amqps", "port": names.AMQPS, "protocol": "TCP"},
                {"name": "management", "port": names.MANAGEMENT, "protocol": "TCP"},
                {"name": "epmd", "port": names.EPMD, "protocol": "TCP"},
                {"name": "distribution", "port": names.DISTRIBUTION, "protocol": "TCP"},
            ],
        },
    }
