"""A broker's pod: what runs in it, under which restrictions, and how it leaves."""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import QUEUE, ZONE
from relayfleet.api.meta import PodTemplate
from relayfleet.children.meta import labels
from relayfleet.children.rabbitmq import names, sizes

QUORUM_SECONDS, DRAIN_SECONDS, GRACE_SECONDS = 30, 10, 80
"""A broker that is told to go waits so long for each of its queues to have a majority without it, hands its leaders over, and stops.
Bounded: a broker that waits for ever keeps its node from being drained."""

SETUP = f"""set -e
grep -q "@$POD_NAME[.]" {names.CONFIG}/rabbitmq.conf || {{ echo "the configuration does not name $POD_NAME yet"; exit 1; }}
umask 077
rm -f "$HOME/.erlang.cookie"
cat {names.SECRETS}/erlang-cookie > "$HOME/.erlang.cookie"
chmod 400 "$HOME/.erlang.cookie"
"""
"""Erlang takes a cookie only from a file that nobody else can read, which a mounted Secret is not. A broker that does not find itself in
the list of nodes would wait for ever, so it looks first and is started again with a newer list."""

LEAVE = f"""rabbitmq-upgrade --timeout {QUORUM_SECONDS} await_online_quorum_plus_one
timeout {DRAIN_SECONDS} rabbitmq-upgrade drain
true
"""

ERLANG = "+sbwt none +sbwtdcpu none +sbwtdio none -kernel net_ticktime 8"
"""No busy waiting: it burns the CPU that other pods were promised. And a broker that is silent for some eight seconds is given up by the others:
only then does a stream whose leader froze get a new one, and until then no relay can claim, so no mail is delivered (68 s with Erlang's 60)."""


def inputs(queue: dict[str, Any], template: PodTemplate) -> dict[str, Any]:
    """What the user states that shapes the pod. While this stays, the pods stay as they are."""
    return {"name": queue["metadata"]["name"], "template": template.as_dict()}


def pod_template(queue: dict[str, Any], template: PodTemplate, default_image: str) -> dict[str, Any]:
    """The template of the brokers' pods."""
    image = template.image or default_image
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": _POD_SECURITY,
        "affinity": _apart(queue),
        "initContainers": [_setup(queue, image)],
        "containers": [_broker(queue, image, template)],
        "volumes": _volumes(queue),
    }
    if template.image_pull_secrets:
        spec["imagePullSecrets"] = [each.as_dict() for each in template.image_pull_secrets]
    if template.node_selector:
        spec["nodeSelector"] = template.node_selector
    if template.tolerations:
        spec["tolerations"] = template.tolerations
    if template.priority_class_name:
        spec["priorityClassName"] = template.priority_class_name
    metadata: dict[str, Any] = {"labels": labels(queue)}
    return {
        "metadata": metadata | ({"annotations": template.annotations} if template.annotations else {}),
        "spec": spec,
    }


def _broker(queue: dict[str, Any], image: str, template: PodTemplate) -> dict[str, Any]:
    return {
        "name": "rabbitmq",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["rabbitmq-server"],
        "env": _environment(queue),
        "ports": [
            {"name": "amqps", "containerPort": names.AMQPS},
            {"name": "management", "containerPort": names.MANAGEMENT},
        ],
        "resources": sizes.resources(template.resources),
        # The port opens at the very end of the start. Recovery of a large volume takes its time: an hour, then start over.
        "startupProbe": _probe(periodSeconds=2, failureThreshold=1800),
        # No liveness probe: a broker that is slow because it is overloaded must not be killed for it.
        "readinessProbe": _probe(periodSeconds=5, failureThreshold=3, timeoutSeconds=5),
        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", LEAVE]}}},
        "securityContext": _SECURITY,
        "volumeMounts": [
            {"name": names.VOLUME, "mountPath": names.DATA},
            {"name": "config", "mountPath": names.CONFIG, "readOnly": True},
            {"name": "tls", "mountPath": names.TLS, "readOnly": True},
            {"name": "home", "mountPath": names.HOME},
            {"name": "log", "mountPath": "/var/log/rabbitmq"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the container
        ],
    }


def _setup(queue: dict[str, Any], image: str) -> dict[str, Any]:
    return {
        "name": "setup",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SETUP],
        "env": _environment(queue)[:2],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": _SECURITY,
        "volumeMounts": [
            {"name": "config", "mountPath": names.CONFIG, "readOnly": True},
            {"name": "cookie", "mountPath": names.SECRETS, "readOnly": True},
            {"name": "home", "mountPath": names.HOME},
        ],
    }


def _environment(queue: dict[str, Any]) -> list[dict[str, Any]]:
    peers = f"{names.base(queue)}.{queue['metadata']['namespace']}"
    return [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "HOME", "value": names.HOME},
        {"name": "LANG", "value": "C.UTF-8"},
        {"name": "RABBITMQ_USE_LONGNAME", "value": "true"},
        {"name": "RABBITMQ_NODENAME", "value": f"rabbit@$(POD_NAME).{peers}"},
        {"name": "RABBITMQ_MNESIA_BASE", "value": f"{names.DATA}/mnesia"},
        {"name": "RABBITMQ_LOGS", "value": "-"},
        {"name": "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "value": ERLANG},
        # Of use once only, when the first broker makes its database.
        _from_admin(queue, "RABBITMQ_DEFAULT_USER", "username"),
        _from_admin(queue, "RABBITMQ_DEFAULT_PASS", "password"),
    ]


def _from_admin(queue: dict[str, Any], variable: str, key: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": names.admin_secret(queue), "key": key}}}


def _volumes(queue: dict[str, Any]) -> list[dict[str, Any]]:
    cookie = [{"key": "erlang-cookie", "path": "erlang-cookie"}]
    return [
        {"name": "config", "configMap": {"name": names.base(queue)}},
        {"name": "tls", "secret": {"secretName": names.tls_secret(queue), "defaultMode": 0o440}},
        {"name": "cookie", "secret": {"secretName": names.admin_secret(queue), "items": cookie, "defaultMode": 0o440}},
        {"name": "home", "emptyDir": {"sizeLimit": "16Mi"}},
        {"name": "log", "emptyDir": {"sizeLimit": "256Mi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
    ]


def _probe(**numbers: int) -> dict[str, Any]:
    return {"tcpSocket": {"port": names.AMQPS}} | numbers


def _apart(queue: dict[str, Any]) -> dict[str, Any]:
    """Preferred, not required: three brokers on two nodes are better than two brokers."""
    here = {"labelSelector": {"matchLabels": {QUEUE: queue["metadata"]["name"]}}}
    weights = {"kubernetes.io/hostname": 100, ZONE: 50}
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": weight, "podAffinityTerm": {"topologyKey": key} | here} for key, weight in weights.items()
            ]
        }
    }


_POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": names.UID,
    "runAsGroup": names.UID,
    "fsGroup": names.UID,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
