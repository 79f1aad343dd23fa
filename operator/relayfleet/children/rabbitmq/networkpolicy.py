"""Who may talk to brokers: relays AMQP, the operator AMQP and management, brokers everything that brokers need."""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import COMPONENT, NAME, NAMESPACE_NAME, QUEUE
from relayfleet.children.meta import metadata
from relayfleet.children.rabbitmq import names


def network_policy(queue: dict[str, Any], operators_namespace: str) -> dict[str, Any]:
    """Brokers speak first to nobody but each other and DNS."""
    brokers = {"podSelector": {"matchLabels": {QUEUE: queue["metadata"]["name"]}}}
    relays = {"podSelector": {"matchLabels": {NAME: "relayfleet", COMPONENT: "relay"}}}
    operator = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: operators_namespace}},
        "podSelector": {"matchLabels": {NAME: "relayfleet", COMPONENT: "operator"}},
    }
    ranges = [_tcp(first) | {"endPort": last} for first, last in (names.STREAMS, names.COMMANDS)]
    peers = [_tcp(names.EPMD), _tcp(names.DISTRIBUTION), *ranges]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(queue, names.base(queue)),
        "spec": {
            "podSelector": brokers["podSelector"],
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": [_tcp(names.AMQPS)], "from": [relays, operator]},
                {"ports": [_tcp(names.MANAGEMENT)], "from": [operator]},
                {"ports": peers, "from": [brokers]},
            ],
            "egress": [
                {"ports": [{"protocol": "UDP", "port": 53}, _tcp(53)]},
                {"ports": peers, "to": [brokers]},
            ],
        },
    }


def _tcp(port: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port}
