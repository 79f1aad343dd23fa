"""The relays' ServiceAccount: a name without rights and without a token, since relays know nothing of Kubernetes."""

from __future__ import annotations

from typing import Any

from relayfleet.children.meta import metadata
from relayfleet.children.relay import names


def service_account(pool: dict[str, Any]) -> dict[str, Any]:
    """One a pool, so that it can be told from others where identities are mapped (image pulls, say)."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(pool, names.of(pool["metadata"]["name"])),
        "automountServiceAccountToken": False,
    }
