"""What all children have in common: who owns them, their names and labels.

The owner reference makes Kubernetes delete a child with its owner, and makes the tree show in tools that draw it. Labels and annotations
of the owner are never copied: a copied label of Argo CD, say, would make it claim the child.
"""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import POOL, QUEUE, child_labels

_OWNERS = {"RelayPool": ("relay", POOL), "QueueCluster": ("queue", QUEUE)}


def owner(obj: dict[str, Any]) -> dict[str, Any]:
    """The owner reference to a resource. It blocks no deletion: nothing waits for the garbage collector."""
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def labels(obj: dict[str, Any]) -> dict[str, str]:
    """The labels of the children of a resource, by which the operator finds them again."""
    component, label = _OWNERS[obj["kind"]]
    return child_labels(component, obj["metadata"]["name"], label)


def metadata(obj: dict[str, Any], name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    """Metadata of a child of `obj` that goes when `obj` goes."""
    found = {
        "name": name,
        "namespace": obj["metadata"]["namespace"],
        "labels": labels(obj),
        "ownerReferences": [owner(obj)],
    }
    return found | ({"annotations": annotations} if annotations else {})
