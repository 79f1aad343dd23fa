"""The pod template of the relays: what runs, as whom, with which files, and when it counts as ready."""

from __future__ import annotations

import math
from typing import Any

from relayfleet.api.labels import LISTED, POOL, ZONE
from relayfleet.api.meta import PodTemplate, seconds
from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.children import sealing
from relayfleet.children.meta import labels
from relayfleet.children.relay import abilities, broker, config, control, dependencies, names, signing, suppression
from relayfleet.protocol import brokeruser, telemetry

MARGIN = 10.0
"""Seconds that the kubelet waits beyond the drain before it kills."""

_ROOT = "/etc/relayfleet"
_DEFAULT_RESOURCES = {"requests": {"cpu": "25m", "memory": "128Mi"}}


def template(
    pool: dict[str, Any], spec: RelayPoolSpec, broker_volume: dict[str, Any], image: str, region: str
) -> dict[str, Any]:
    """The pod template of a pool. `image` is taken when the pool names none."""
    wanted = spec.template
    volumes = _volumes(pool["metadata"]["name"], spec, broker_volume)
    body = {
        "serviceAccountName": names.of(pool["metadata"]["name"]),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(names.UNLIST + seconds(spec.drain.grace_period) + MARGIN),
        "readinessGates": [{"conditionType": LISTED}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.UID,
            "runAsGroup": names.UID,
            "fsGroup": names.UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [_spread(pool, key) for key in ("kubernetes.io/hostname", ZONE)],
        "containers": [
            _container(spec, [each["name"] for each in volumes], image, region, own_user=broker.managed(broker_volume))
        ],
        "volumes": volumes,
        **_placement(wanted),
    }
    annotations = {**wanted.annotations, **abilities.ABILITY}
    return {"metadata": {"labels": labels(pool), "annotations": annotations}, "spec": body}


def _placement(wanted: PodTemplate) -> dict[str, Any]:
    found = {
        "nodeSelector": dict(wanted.node_selector),
        "tolerations": list(wanted.tolerations),
        "priorityClassName": wanted.priority_class_name,
        "imagePullSecrets": [each.as_dict() for each in wanted.image_pull_secrets],
    }
    return {key: value for key, value in found.items() if value}


def _spread(pool: dict[str, Any], topology: str) -> dict[str, Any]:
    """Over nodes and zones as evenly as can be; a pod that cannot be placed so still runs. Each template is spread by itself."""
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {POOL: pool["metadata"]["name"]}},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _container(spec: RelayPoolSpec, mounted: list[str], image: str, region: str, *, own_user: bool) -> dict[str, Any]:
    return {
        "name": "relay",
        "image": spec.template.image or image,
        "args": ["relay"],
        "env": [
            {"name": "RELAYFLEET_RELAY_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "RELAYFLEET_REGION", "value": region},
            *([{"name": brokeruser.VARIABLE, "value": brokeruser.OWN}] if own_user else []),
        ],
        "ports": [
            {"name": "status", "containerPort": names.STATUS_PORT},
            {"name": "control", "containerPort": telemetry.PORT},
        ],
        "resources": spec.template.resources or _DEFAULT_RESOURCES,
        # The last lines of its log stand in the pod's status when it crashes, and from there in the pool's.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "readinessProbe": _probe("/readyz", period=1, timeout=1, failures=2),
        "livenessProbe": _probe("/livez", period=10, timeout=5, failures=6),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": each, "mountPath": f"{_ROOT}/{each}", "readOnly": True} for each in mounted],
    }


def _probe(path: str, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "status"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _volumes(pool: str, spec: RelayPoolSpec, broker_volume: dict[str, Any]) -> list[dict[str, Any]]:
    """Each is mounted at the folder of its name. Of `control` and `broker` the user named none here."""
    found: list[dict[str, Any]] = [
        {"name": "relay", "configMap": {"name": names.of(pool), "items": [{"key": config.FILE, "path": config.FILE}]}},
    ]
    if spec.auth_secret_ref:
        found.append({"name": "auth", "secret": {"secretName": spec.auth_secret_ref.name, "defaultMode": 0o440}})
    if spec.tls_secret_ref:
        keys = [{"key": key, "path": key} for key in ("tls.crt", "tls.key")]
        tls = {"secretName": spec.tls_secret_ref.name, "defaultMode": 0o440, "items": keys}
        found.append({"name": "tls", "secret": tls})
    if spec.dkim:
        found.append({"name": "dkim", "projected": signing.volume(spec.dkim)})
    if spec.suppression_list:
        found.append({"name": "suppression", "projected": suppression.volume(spec.suppression_list)})
    if asked := dependencies.volume(spec.dependencies):
        found.append(asked)
    found.append(sealing.volume(spec.queue_ref.name))
    return [*found, {"name": "control", "secret": control.volume(pool)}, {"name": "broker", **broker_volume}]
