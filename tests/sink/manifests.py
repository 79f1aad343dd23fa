"""The sink and its DNS server as Kubernetes objects, for tests and the demo. Pods meet the restricted pod security standard."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.sink.zone import DOMAIN, PORT, named_conf

Object = dict[str, Any]

SMTP_PORT, CONTROL_PORT = 25, 8025
"""SMTP as everywhere: a NetworkPolicy that allows port 25 looks at the port of the pod, behind the Service."""
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
    "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "25"}],
}


def namespace(name: str, labels: dict[str, str] | None = None) -> Object:
    """A namespace in which pods must be restricted, unless `labels` say otherwise."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", **(labels or {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def sink(namespace: str, name: str, image: str, *options: str) -> list[Object]:
    """A sink: SMTP on port 25 of its Service, control on a node port too, so that tests outside the cluster can ask it.

    `options` are further ones of its command line.
    """
    container = {
        "name": "sink",
        "image": image,
        "args": [f"--smtp-port={SMTP_PORT}", f"--http-port={CONTROL_PORT}", f"--name={name}.{DOMAIN}", *options],
        "ports": [{"name": "smtp", "containerPort": SMTP_PORT}, {"name": "control", "containerPort": CONTROL_PORT}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "control"}, "periodSeconds": 1},
    }
    ports = [
        {"name": "smtp", "port": 25, "targetPort": "smtp"},
        {"name": "control", "port": CONTROL_PORT, "targetPort": "control"},
    ]
    return [deployment(namespace, name, container, []), service(namespace, name, ports, "NodePort")]


def dns_service(namespace: str, name: str = "dns", port: int = PORT) -> Object:
    """The Service of the DNS server: its address is needed before the server's zone can be written. `port` is the container's."""
    ports = [
        {"name": "udp", "port": 53, "protocol": "UDP", "targetPort": port},
        {"name": "tcp", "port": 53, "protocol": "TCP", "targetPort": port},
    ]
    return service(namespace, name, ports, "ClusterIP")


def dns(namespace: str, image: str, zone: str, name: str = "dns", port: int = PORT) -> list[Object]:
    """BIND with the zone (see `zone.py`). Another zone text makes another pod."""
    files = {"named.conf": named_conf("/config", port), DOMAIN: zone}
    container = {
        "name": "dns",
        "image": image,
        "command": ["/usr/sbin/named", "-g", "-c", "/config/named.conf"],
        "ports": [{"containerPort": port, "protocol": "UDP"}, {"containerPort": port, "protocol": "TCP"}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    }
    made = deployment(namespace, name, container, [{"name": "config", "configMap": {"name": name}}])
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
    made["spec"]["template"]["metadata"]["annotations"] = {"example.test/config": digest}
    return [_object("v1", "ConfigMap", namespace, name, data=files), made]


def deployment(namespace: str, name: str, container: Object, volumes: list[Object]) -> Object:
    """One pod of this container, which may write to /tmp only."""
    labels = {"app": name}
    mounts = [*container.get("volumeMounts", []), {"name": "tmp", "mountPath": "/tmp"}]
    container = {
        **container,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": _RESTRICTED,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "volumeMounts": mounts,
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 3,
        "securityContext": _POD_SECURITY,
        "containers": [container],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
    }
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", namespace, name, spec=spec)


def service(namespace: str, name: str, ports: list[Object], kind: str) -> Object:
    """The Service of a `deployment`."""
    return _object("v1", "Service", namespace, name, spec={"type": kind, "selector": {"app": name}, "ports": ports})


def _object(api_version: str, kind: str, namespace: str, name: str, **rest: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name}, **rest}
