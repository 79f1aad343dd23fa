"""How relays reach the brokers of a QueueCluster: addresses, the Secrets with credentials and CA, ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relayfleet.api.queuecluster import ExternalBroker, ManagedRabbitMQ, QueueClusterSpec
from relayfleet.children.rabbitmq import names as rabbitmq_names
from relayfleet.protocol import brokeruser
from relayfleet.protocol.relay_config import Broker


@dataclass(frozen=True, slots=True)
class Access:
    """`broker` is what the relay is told; `volume` is mounted at the relay's broker folder."""

    broker: Broker
    volume: dict[str, Any]


def access(queue: dict[str, Any], spec: QueueClusterSpec, prefix: str, quota_bytes: int) -> Access:
    """How the relays of a pool reach the queue; `prefix` begins the names of the pool's queues."""
    if spec.external:
        return _external(spec.external, prefix, quota_bytes)
    return _managed(queue, spec.rabbitmq or ManagedRabbitMQ(), prefix, quota_bytes)


def managed(volume: dict[str, Any]) -> bool:
    """Whether it is the volume of a queue whose brokers are ours, so that each relay can have a user of its own there."""
    return "secret" in volume


def queue_of(pod: dict[str, Any]) -> str | None:
    """The managed queue at whose brokers a relay's pod logs in, by the Secret that it mounts; None for somebody else's brokers."""
    volumes: list[dict[str, Any]] = pod["spec"].get("volumes") or []
    volume = next((each for each in volumes if each["name"] == "broker"), {})
    return rabbitmq_names.queue_of_client_secret(volume.get("secret", {}).get("secretName", ""))


def has_own_user(pod: dict[str, Any]) -> bool:
    """Whether a relay's pod logs in as a user of its own. One of an older template logs in as the user that it shares with others."""
    containers = pod["spec"].get("containers") or []
    variables = [each for container in containers for each in container.get("env") or []]
    return {"name": brokeruser.VARIABLE, "value": brokeruser.OWN} in variables


def _managed(queue: dict[str, Any], rabbitmq: ManagedRabbitMQ, prefix: str, quota_bytes: int) -> Access:
    hosts = (rabbitmq_names.host(queue, number) for number in range(rabbitmq.replicas))
    broker = Broker(
        addresses=tuple(f"{host}:{rabbitmq_names.AMQPS}" for host in hosts),
        vhost=rabbitmq_names.VHOST,
        queue_prefix=prefix,
        replicas=rabbitmq.replicas,
        quota_bytes=quota_bytes,
    )
    return Access(broker, {"secret": _secret(rabbitmq_names.client_secret(queue), "username", "password", "ca.crt")})


def _external(external: ExternalBroker, prefix: str, quota_bytes: int) -> Access:
    broker = Broker(
        addresses=tuple(external.addresses),
        tls=external.tls is not None,
        server_name=external.tls.server_name if external.tls else None,
        vhost=external.vhost,
        queue_prefix=prefix,
        quota_bytes=quota_bytes,
    )
    sources = [_projection(external.credentials_ref.name, "username", "password")]
    if external.tls and external.tls.ca_secret_ref:
        sources.append(_projection(external.tls.ca_secret_ref.name, "ca.crt"))
    return Access(broker, {"projected": {"sources": sources, "defaultMode": 0o440}})


def _secret(name: str, *keys: str) -> dict[str, Any]:
    # Named keys, so that a Secret without one of them stops the pod with an event that says which.
    return {"secretName": name, "defaultMode": 0o440, "items": _items(keys)}


def _projection(name: str, *keys: str) -> dict[str, Any]:
    return {"secret": {"name": name, "items": _items(keys)}}


def _items(keys: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"key": key, "path": key} for key in keys]
