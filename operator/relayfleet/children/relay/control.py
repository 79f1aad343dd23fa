"""The Secret by which a pool's relays and the leading operator know each other."""

from __future__ import annotations

import base64
from typing import Any

from relayfleet.children.meta import metadata
from relayfleet.children.relay import names

KEYS = ("tls.crt", "tls.key", "ca.crt", "discard")
"""What relays get of it: certificate, key and CA in PEM, and the secret word in the address of probe mails."""


def secret(pool: dict[str, Any], data: dict[str, str]) -> dict[str, Any]:
    """The Secret with these texts, by KEYS. It goes with the pool: nothing was made with it that outlives the relays."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(pool, names.control(pool["metadata"]["name"])),
        "type": "Opaque",
        "data": {key: base64.b64encode(data[key].encode()).decode() for key in KEYS},
    }


def volume(pool: str) -> dict[str, Any]:
    """The volume with it. Optional: a relay without it relays, and is only not ordered. Keys are named, since under the name of a pool's
    Secret there may be another one, the operator's own CA for a pool `relayfleet` beside it."""
    return {
        "secretName": names.control(pool),
        "defaultMode": 0o440,
        "optional": True,
        "items": [{"key": key, "path": key} for key in KEYS],
    }
