"""The Secrets of a RabbitMQ cluster. They have no owner: a deleted QueueCluster leaves them for its successor, with the volumes."""

from __future__ import annotations

import base64
from typing import Any

from relayfleet.children.meta import metadata


def secret(queue: dict[str, Any], name: str, data: dict[str, str]) -> dict[str, Any]:
    """A Secret with these texts."""
    about = metadata(queue, name)
    del about["ownerReferences"]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": about,
        "type": "Opaque",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def texts(found: dict[str, Any] | None) -> dict[str, str] | None:
    """The texts of a Secret, None when there is none. What is not UTF-8 is left out."""
    if found is None:
        return None
    decoded = {}
    for key, value in (found.get("data") or {}).items():
        try:
            decoded[key] = base64.b64decode(value).decode()
        except ValueError:
            continue
    return decoded
