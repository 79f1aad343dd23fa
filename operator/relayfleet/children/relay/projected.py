"""Entries of users' Secrets as one volume: a folder for each Secret, and in it only the entries that were named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def volume(entries: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The projected volume of (Secret, entry). Its order follows from names, not from the user's list: to sort that must restart no relay.

    Not optional, as with TLS: a Secret that is not there stops the new pod, and the rollout with it, before any mail is touched. Relays that
    run keep what they have.
    """
    by_secret: dict[str, set[str]] = {}
    for secret, entry in entries:
        by_secret.setdefault(secret, set()).add(entry)
    return {"sources": [_source(name, keys) for name, keys in sorted(by_secret.items())], "defaultMode": 0o440}


def _source(name: str, keys: set[str]) -> dict[str, Any]:
    items = [{"key": key, "path": f"{name}/{key}"} for key in sorted(keys)]
    return {"secret": {"name": name, "items": items}}
