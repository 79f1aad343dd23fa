"""Names and numbers that the brokers' objects, the brokers and their clients agree on."""

from __future__ import annotations

from typing import Any

AMQPS, MANAGEMENT = 5671, 15671
"""Ports of AMQP and of the management API, both with TLS. The plain ones stay closed."""

EPMD, DISTRIBUTION = 4369, 25672
"""Ports on which brokers find each other and talk among themselves."""

STREAMS = (6000, 6500)
"""First and last port on which a broker takes copies of streams (the journal is one) from another."""

COMMANDS = (35672, 35682)
"""First and last port on which `rabbitmqctl` and its like, in one broker's pod, take the answers of other brokers. Those that ask all of them
(`list_queues`) would wait for ever without."""

UID = 999
"""User and group of the broker in the official image and in the test bed's."""

MOST_BROKERS = 7
"""The certificate names so many brokers from the start: growing needs no new one."""

LONGEST = 40
"""Characters that a QueueCluster's name may have: a StatefulSet's name may have 52, since its pods carry it, with a hash, in a label."""

VHOST = "/"
CLIENT_USER = "relay"
ADMIN_USER = "operator"
PROBER_USER = "prober"
"""What probers log in as. It may make queues whose names begin as canaries' do, and publish to them, and nothing else."""

CONFIG = "/etc/rabbitmq"
TLS = "/etc/relayfleet-tls"
SECRETS = "/etc/relayfleet-secrets"
DATA = "/var/lib/rabbitmq"
HOME = "/run/rabbitmq"
"""Folders in a broker's container. The Erlang cookie lies in HOME, not on the volume with the mail."""

VOLUME = "data"

_BASE, _CLIENT = "-rabbitmq", "-client"


def base(queue: dict[str, Any]) -> str:
    """The name of the StatefulSet, its Service and most other children."""
    return f"{queue['metadata']['name']}{_BASE}"


def admin_secret(queue: dict[str, Any]) -> str:
    """Secret with what cannot be made anew: the operator's password, the Erlang cookie, the CA. For operator and brokers only."""
    return f"{base(queue)}-admin"


def admin_secret_copy(queue: dict[str, Any]) -> str:
    """Secret with the same again, from which the first one comes back when no leader remembers it. Nothing mounts it."""
    return f"{admin_secret(queue)}-copy"


def client_secret(queue: dict[str, Any]) -> str:
    """Secret that relays mount: username, password, ca.crt."""
    return f"{base(queue)}{_CLIENT}"


def queue_of_client_secret(secret: str) -> str | None:
    """The name of the queue whose client Secret it is; None for another Secret."""
    queue = secret.removesuffix(f"{_BASE}{_CLIENT}")
    return queue if queue and queue != secret else None


def tls_secret(queue: dict[str, Any]) -> str:
    """Secret with the brokers' certificate and key."""
    return f"{base(queue)}-tls"


def pod(queue: dict[str, Any], number: int) -> str:
    """The name of a broker's pod."""
    return f"{base(queue)}-{number}"


def host(queue: dict[str, Any], number: int) -> str:
    """The name under which clients reach a broker, wherever it runs."""
    return f"{pod(queue, number)}.{base(queue)}.{queue['metadata']['namespace']}.svc"


def node(queue: dict[str, Any], number: int) -> str:
    """The Erlang name of a broker. It is written into its data, so it never changes."""
    return f"rabbit@{pod(queue, number)}.{base(queue)}.{queue['metadata']['namespace']}"


def certificate_hosts(queue: dict[str, Any]) -> list[str]:
    """Every name that the brokers' certificate is good for."""
    service = f"{base(queue)}.{queue['metadata']['namespace']}.svc"
    return [service, *(host(queue, number) for number in range(MOST_BROKERS))]
