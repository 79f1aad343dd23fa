"""Who may talk to relays, and to whom relays may talk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relayfleet.api.labels import COMPONENT, MONITORING, NAME, NAMESPACE_NAME, POOL, QUEUE
from relayfleet.children.meta import metadata
from relayfleet.children.rabbitmq.names import AMQPS
from relayfleet.children.relay import names, resolvers
from relayfleet.protocol import telemetry

SMTP = 25


def network_policy(
    pool: dict[str, Any],
    listeners: int,
    queue: str,
    external_addresses: Sequence[str],
    operators_namespace: str,
    dependencies: Sequence[tuple[str, int]] = (),
) -> dict[str, Any]:
    """In: SMTP from anywhere, the status port from the operator and from namespaces that monitor (nodes always may, for their probes),
    the control port from the operator's pods. Out: DNS, the brokers, SMTP anywhere, the ports of `dependencies`, each with its protocol. `external_addresses`
    are the host:port of brokers that somebody else runs."""
    name = pool["metadata"]["name"]
    smtp = [
        {
            "protocol": "TCP",
            "port": names.listener_port(number, 0),
            "endPort": names.listener_port(number, names.LANES - 1),
        }
        for number in range(listeners)
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(pool, names.of(name)),
        "spec": {
            "podSelector": {"matchLabels": {POOL: name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"ports": smtp},
                {
                    "ports": [_tcp(names.STATUS_PORT)],
                    "from": [_namespaces(NAMESPACE_NAME, operators_namespace), _namespaces(MONITORING, "true")],
                },
                {"ports": [_tcp(telemetry.PORT)], "from": [_operator(operators_namespace)]},
            ],
            "egress": [
                {"ports": [_port("UDP", resolvers.PORT), _tcp(resolvers.PORT)]},
                _brokers(queue, external_addresses),
                {"ports": [_tcp(SMTP)]},
                # By port alone, as external brokers.
                *([{"ports": [_port(*each) for each in dependencies]}] if dependencies else []),
            ],
        },
    }


def _brokers(queue: str, external_addresses: Sequence[str]) -> dict[str, Any]:
    if not external_addresses:
        return {"ports": [_tcp(AMQPS)], "to": [{"podSelector": {"matchLabels": {QUEUE: queue}}}]}
    # By port alone: the addresses are names, which a NetworkPolicy does not know.
    ports = sorted({int(each.rsplit(":", 1)[1]) for each in external_addresses})
    return {"ports": [_tcp(port) for port in ports]}


def _tcp(port: int) -> dict[str, Any]:
    return _port("TCP", port)


def _port(protocol: str, port: int) -> dict[str, Any]:
    return {"protocol": protocol, "port": port}


def _operator(namespace: str) -> dict[str, Any]:
    return {
        **_namespaces(NAMESPACE_NAME, namespace),
        "podSelector": {"matchLabels": {NAME: "relayfleet", COMPONENT: "operator"}},
    }


def _namespaces(label: str, value: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {label: value}}}
