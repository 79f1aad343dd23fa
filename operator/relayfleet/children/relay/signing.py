"""The Secrets with DKIM keys, as one volume: a folder for each Secret, and in it only the entries that were named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relayfleet.api.dkim import SigningDomain


def volume(domains: Sequence[SigningDomain]) -> dict[str, Any]:
    """The projected volume. Its order follows from names, not from the user's list: to sort that must restart no relay.

    Not optional, as with TLS: a Secret that is not there stops the new pod, and the rollout with it, before any mail is touched. Relays that
    run keep what they have.
    """
    entries: dict[str, set[str]] = {}
    for domain in domains:
        for key in domain.keys:
            entries.setdefault(key.secret_ref.name, set()).add(key.secret_ref.key)
    return {"sources": [_source(name, keys) for name, keys in sorted(entries.items())], "defaultMode": 0o440}


def _source(name: str, keys: set[str]) -> dict[str, Any]:
    items = [{"key": key, "path": f"{name}/{key}"} for key in sorted(keys)]
    return {"secret": {"name": name, "items": items}}
