"""The brokers' configuration.

Each broker reads it when it starts, so a change here reaches it at its next start and restarts nothing by itself. What a newer operator
writes must therefore suit pods that an older one built: paths and ports in it are for ever.
"""

from __future__ import annotations

from typing import Any

from relayfleet.api.meta import PodTemplate, size_in_bytes
from relayfleet.api.queuecluster import ManagedRabbitMQ
from relayfleet.children.meta import metadata
from relayfleet.children.rabbitmq import names, sizes

MESSAGE_BYTES = 128 * 2**20
"""The largest record: a message of 100 MiB, the API's limit, with its envelope."""

CONSUMER_SECONDS = 7200
"""How long a relay may hold a record. Far above the longest delivery, far below for ever."""

POLL_MILLISECONDS = 1000
"""How often Raft's failure detector looks. With the default of 5000 a frozen leader stops its queues for 7 to 12 s, with 200 for 0.8 s.
The quicker it looks, the sooner a busy machine's pause is taken for a death and an election interrupts everybody. Relays do not depend on
it for accepting mail (they turn to their second queue after 0.4 s), only for delivering what lies in the frozen queue; so 1 s, at which
detection takes about 2 s."""

PARTS = {
    "who": """
cluster_name = {cluster}
cluster_formation.peer_discovery_backend = classic_config
{nodes}
# A new broker never forms a cluster alone: it waits for another one, for as long as it takes.
cluster_formation.discovery_retry_limit = 1000000
cluster_formation.discovery_retry_interval = 500
cluster_partition_handling = pause_minority
""",
    "doors": """
listeners.tcp = none
listeners.ssl.default = {amqps}
ssl_options.cacertfile = {tls}/ca.crt
ssl_options.certfile = {tls}/tls.crt
ssl_options.keyfile = {tls}/tls.key
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
management.ssl.port = {management}
management.ssl.cacertfile = {tls}/ca.crt
management.ssl.certfile = {tls}/tls.crt
management.ssl.keyfile = {tls}/tls.key
management.ssl.versions.1 = tlsv1.3
management.ssl.versions.2 = tlsv1.2
""",
    "mail": """
default_queue_type = quorum
max_message_size = {message_bytes}
consumer_timeout = {consumer_milliseconds}
""",
    "limits": """
disk_free_limit.absolute = {free_disk}
{memory}
raft.wal_max_size_bytes = {write_ahead_log}
""",
    "log": """
log.console = true
log.console.level = info
log.connection.level = warning
""",
}


def config_map(queue: dict[str, Any], rabbitmq: ManagedRabbitMQ, template: PodTemplate) -> dict[str, Any]:
    """All files of the brokers' configuration folder."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(queue, names.base(queue)),
        "data": {
            "rabbitmq.conf": rabbitmq_conf(queue, rabbitmq, template),
            "advanced.config": ADVANCED,
            "enabled_plugins": "[rabbitmq_management].\n",
        },
    }


ADVANCED = f"""[
 {{aten, [{{poll_interval, {POLL_MILLISECONDS}}}]}},
 {{osiris, [{{port_range, {{{names.STREAMS[0]}, {names.STREAMS[1]}}}}}]}}
].
"""
"""The detector of failed nodes; and the ports of stream replication, as the NetworkPolicy has them."""


def rabbitmq_conf(queue: dict[str, Any], rabbitmq: ManagedRabbitMQ, template: PodTemplate) -> str:
    """The main file."""
    limit = sizes.memory_limit(sizes.resources(template.resources))
    return "".join(PARTS.values()).format(
        cluster=f"{queue['metadata']['namespace']}/{queue['metadata']['name']}",
        nodes=_nodes(queue, rabbitmq.replicas),
        amqps=names.AMQPS,
        management=names.MANAGEMENT,
        tls=names.TLS,
        message_bytes=MESSAGE_BYTES,
        consumer_milliseconds=CONSUMER_SECONDS * 1000,
        free_disk=sizes.free_disk(size_in_bytes(rabbitmq.storage.size)),
        memory=_memory(limit),
        write_ahead_log=sizes.write_ahead_log(limit),
    )


def _nodes(queue: dict[str, Any], replicas: int) -> str:
    return "\n".join(
        f"cluster_formation.classic_config.nodes.{number + 1} = {names.node(queue, number)}"
        for number in range(replicas)
    )


def _memory(limit: int | None) -> str:
    if limit is None:
        return "vm_memory_high_watermark.relative = 0.4"
    return f"vm_memory_high_watermark.absolute = {sizes.memory_watermark(limit)}"
