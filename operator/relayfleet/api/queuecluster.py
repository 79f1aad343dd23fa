"""QueueCluster: where accepted mail rests, replicated and on disk."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from relayfleet.api.meta import Duration, LocalRef, Model, PodTemplate, Quantity, Status, rule, rules


class Storage(Model):
    """The volume of each broker."""

    size: Quantity = Field(
        default="10Gi",
        description="Size of each broker's volume. Cannot change later.",
    )
    storage_class_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="StorageClass of the volumes. Default: the cluster's default class. Cannot change later.",
    )


class ManagedRabbitMQ(Model):
    """A RabbitMQ cluster that the operator runs."""

    replicas: Literal[3, 5, 7] = Field(
        default=3,
        description="Brokers, and members of each queue: 3, 5 or 7, so that a majority is never half. Can grow, not shrink.",
    )
    storage: Storage = Field(default=Storage(), description="The volume of each broker.")


class ExternalTLS(Model):
    """How relays check the brokers' certificates."""

    ca_secret_ref: LocalRef | None = Field(
        default=None,
        description="Secret with key `ca.crt`: the authorities that relays trust. Default: the image's public ones.",
    )
    server_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Name that the certificate must have. Default: the host of the address.",
    )


class ExternalBroker(Model):
    """Brokers that somebody else runs. RabbitMQ 4.0.5 or later is required, with quorum queues and streams."""

    addresses: list[Annotated[str, Field(pattern=r"^[^:\s/]+:[0-9]{1,5}$", max_length=260)]] = Field(
        min_length=1,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="Brokers of one cluster as host:port, AMQP 0-9-1. At least two, or relays have nowhere to turn.",
    )
    credentials_ref: LocalRef = Field(description="Secret with keys `username` and `password`.")
    vhost: str = Field(default="/", min_length=1, max_length=128, description="Virtual host.")
    tls: ExternalTLS | None = Field(default=None, description="Use AMQP over TLS. Default: plain AMQP.")


class Sealing(Model):
    """How mail is encrypted before it is stored. The keys are in the Secret `<name>-sealing`, which the operator makes."""

    rotate_every: Duration = Field(
        default="720h",
        json_schema_extra=rules(rule("duration(self) >= duration('24h')", "sealing.rotateEvery must be at least 24h")),
        description="Age at which the key that seals new mail gets a successor, which seals an hour later, when all relays know it. Old keys are "
        "kept for half a year after that, and eight of them for ever.",
    )


class QueueClusterSpec(Model):
    """What a user states about the queue."""

    type: Literal["RabbitMQ", "External"] = Field(
        default="RabbitMQ",
        json_schema_extra=rules(
            rule("self == oldSelf", "type cannot change: create another QueueCluster and point the pools to it")
        ),
        description="RabbitMQ: the operator runs the brokers. External: somebody else does. Cannot change later.",
    )
    rabbitmq: ManagedRabbitMQ | None = Field(default=None, description="Settings for type RabbitMQ.")
    external: ExternalBroker | None = Field(
        default=None, description="Settings for type External. The brokers are RabbitMQ 4.0.5 or later."
    )
    sealing: Sealing = Field(default=Sealing(), description="How mail is encrypted before it is stored.")
    template: PodTemplate = Field(
        default=PodTemplate(),
        description="What the brokers' pods look like. An image of your own holds RabbitMQ 4.0.5 or later.",
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="What becomes of volumes, credentials and sealing keys when this resource is deleted. Retain: they stay, and a new QueueCluster "
        "of the same name adopts them with the mail in them. Delete: they go, once no record is left. Sealing keys for external brokers always stay.",
    )


DEFAULT_SIZE, NO_CLASS = "'10Gi'", "''"


def _now(field: str, default: str, whole: str = "self") -> str:
    """A field below `rabbitmq` in CEL, with its default when it, or all of `rabbitmq`, was left out."""
    parts, path = field.split("."), f"{whole}.rabbitmq"
    tests = [f"has({path})"]
    for each in parts:
        path += f".{each}"
        tests.append(f"has({path})")
    return f"({' && '.join(tests)} ? {path} : {default})"


def _before(field: str, default: str) -> str:
    """The same field as it was before the change."""
    return _now(field, default, "oldSelf")


CRD_RULES = (
    rule(
        "self.type != 'External' || has(self.external)",
        "type External needs `external` with addresses and credentialsRef",
    ),
    rule(
        "self.type == 'External' || !has(self.external)",
        "`external` is only for type External: remove it or set type: External",
    ),
    rule(
        "self.type == 'RabbitMQ' || !has(self.rabbitmq)",
        "`rabbitmq` is only for type RabbitMQ: remove it or set type: RabbitMQ",
    ),
    rule(
        f"{_now('replicas', '3')} >= {_before('replicas', '3')}",
        "rabbitmq.replicas cannot shrink: removing members would put mail at risk",
    ),
    rule(
        f"{_now('storage.size', DEFAULT_SIZE)} == {_before('storage.size', DEFAULT_SIZE)}",
        "rabbitmq.storage.size cannot change: volumes of a StatefulSet are not resized by this operator",
    ),
    rule(
        f"{_now('storage.storageClassName', NO_CLASS)} == {_before('storage.storageClassName', NO_CLASS)}",
        "rabbitmq.storage.storageClassName cannot change for volumes that exist",
    ),
)


class QueueClusterStatus(Status):
    """What the operator says about it."""

    replicas: int | None = Field(default=None, ge=0, description="Brokers asked for.")
    ready_replicas: int | None = Field(default=None, ge=0, description="Brokers that serve.")
    brokers: str | None = Field(default=None, description="Brokers that serve, of those asked for, as 3/3.")
    version: str | None = Field(
        default=None, description="Version that the brokers report; of external ones the oldest."
    )
    sealing_key: str | None = Field(
        default=None,
        max_length=64,
        description="Name of the key that seals new mail, of those in the Secret `<name>-sealing`.",
    )
