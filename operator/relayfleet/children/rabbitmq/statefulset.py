"""The StatefulSet of the brokers.

All brokers start at once, since after a power failure the last one that stopped has to be there for the others. They are replaced one at
a time, each only when the one before has been ready for a while. Volumes are never deleted with the StatefulSet.
"""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import QUEUE
from relayfleet.api.queuecluster import ManagedRabbitMQ
from relayfleet.children.meta import metadata
from relayfleet.children.rabbitmq import names

READY_SECONDS = 10
"""How long a broker has to be ready before the next one is replaced: its queues catch up meanwhile."""


def stateful_set(
    queue: dict[str, Any],
    rabbitmq: ManagedRabbitMQ,
    template: dict[str, Any],
    annotations: dict[str, str],
    *,
    outlives_owner: bool,
) -> dict[str, Any]:
    """`outlives_owner`: no owner reference, so that somebody can still ask the brokers whether mail is left.

    The volume claim template cannot change once the StatefulSet exists, by a newer operator either."""
    about = metadata(queue, names.base(queue), annotations)
    if outlives_owner:
        about["ownerReferences"] = []
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": about,
        "spec": {
            "serviceName": names.base(queue),
            "replicas": rabbitmq.replicas,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "minReadySeconds": READY_SECONDS,
            "revisionHistoryLimit": 3,
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "selector": {"matchLabels": {QUEUE: queue["metadata"]["name"]}},
            "template": template,
            "volumeClaimTemplates": [_claim(rabbitmq)],
        },
    }


def _claim(rabbitmq: ManagedRabbitMQ) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": rabbitmq.storage.size}},
    }
    if rabbitmq.storage.storage_class_name:
        spec["storageClassName"] = rabbitmq.storage.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": names.VOLUME}, "spec": spec}
