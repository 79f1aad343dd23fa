"""A pool on an API server in memory, and the pods that a Deployment would make for it."""

from __future__ import annotations

import base64
import datetime
from dataclasses import replace
from typing import Any, cast

from relayfleet.act.authority import new_authority
from relayfleet.act.kubernetes.events import Recorder
from relayfleet.api.labels import CORDON, LISTED, POOL
from relayfleet.controllers.context import Context
from relayfleet.controllers.relayhealth import Health
from relayfleet.kube.client import Kube, Object
from relayfleet.runtime.control import SECRET
from relayfleet.runtime.settings import Settings
from tests.fakes.kube import FakeKube

SETTINGS = Settings(
    region="eu",
    namespace="relayfleet-system",
    identity="test",
    image="relayfleet:1",
    rabbitmq_image="rabbitmq:4",
)


def context(kube: FakeKube, **settings: Any) -> Context:
    """What controllers get; `settings` change single settings."""
    server = cast("Kube", kube)
    health = Health(lambda namespace, name: None)
    made = Context(server, replace(SETTINGS, **settings), Recorder(server, "test"), health)
    kube.mirrors.append(made.mirror)
    return made


def operators_authority() -> Object:
    """The Secret with the CA of the operator's replicas, another one each time."""
    certificate, key = new_authority("relayfleet control", datetime.datetime.now(datetime.UTC))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": SETTINGS.namespace, "name": SECRET},
        "data": {
            name: base64.b64encode(text.encode()).decode() for name, text in (("ca.crt", certificate), ("ca.key", key))
        },
    }


def relay_pod(name: str, ip: str, *, ready: bool = True, leaving: bool = False, cordon: str = "") -> Object:
    """A relay's pod on a node; `ready` is its containers' readiness."""
    metadata: dict[str, Any] = {
        "namespace": "mail",
        "name": name,
        "labels": {POOL: "tx"},
        "creationTimestamp": "2026-11-24T12:00:00Z",
        "annotations": {CORDON: cordon} if cordon else {},
    }
    if leaving:
        metadata["deletionTimestamp"] = "2026-11-24T13:00:00Z"
    conditions = [
        {"type": "ContainersReady", "status": str(ready), "lastTransitionTime": "2026-11-24T12:00:05Z"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Running", "podIPs": [{"ip": ip}], "conditions": conditions},
    }


def gates(kube: FakeKube) -> dict[str, str]:
    """The readiness gate of each pod, "" where it was never set."""
    return {
        name: next((each["status"] for each in pod["status"]["conditions"] if each["type"] == LISTED), "")
        for (kind, _, name), pod in kube.objects.items()
        if kind == "Pod"
    }


def endpoints(kube: FakeKube, name: str = "tx-ipv4-0") -> dict[str, tuple[bool, bool, bool]]:
    """Ready, serving and terminating of each endpoint in a slice, by pod."""
    return {
        each["targetRef"]["name"]: tuple(each["conditions"][key] for key in ("ready", "serving", "terminating"))
        for each in kube.seen("EndpointSlice", name)["endpoints"]
    }
