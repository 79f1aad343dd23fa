"""Resources as the API server has them, for tests of what is built from them."""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import API_VERSION
from relayfleet.api.queuecluster import QueueClusterSpec
from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.api.sendingip import SendingIPSpec


def resource(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """A resource in namespace mail."""
    metadata = {"namespace": "mail", "name": name, "uid": f"uid-of-{name}", "generation": 1}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def pool(**spec: Any) -> dict[str, Any]:
    """A pool `tx`, labelled and annotated as Argo CD does."""
    stated = {
        "queueRef": {"name": "mail"},
        "sendingIPSelector": {"matchLabels": {"pool": "tx"}},
        "listeners": [{"name": "submission", "port": 587}, {"name": "smtps", "port": 465, "tls": "Implicit"}],
        "authSecretRef": {"name": "submitters"},
        "tlsSecretRef": {"name": "smtp-tls"},
    }
    found = resource("RelayPool", "tx", **(stated | spec))
    found["metadata"]["labels"] = {"app.kubernetes.io/instance": "argo-app"}
    found["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "argo-app"}
    return found


def pool_spec(obj: dict[str, Any]) -> RelayPoolSpec:
    return RelayPoolSpec.model_validate(obj["spec"])


def queue(**spec: Any) -> tuple[dict[str, Any], QueueClusterSpec]:
    """A queue `mail` and its spec."""
    obj = resource("QueueCluster", "mail", **spec)
    return obj, QueueClusterSpec.model_validate(spec)


def sending_ip(address: str, **spec: Any) -> SendingIPSpec:
    stated = {"address": address, "region": "eu", "heloName": "a.mail.example.com"}
    return SendingIPSpec.model_validate(stated | spec)
