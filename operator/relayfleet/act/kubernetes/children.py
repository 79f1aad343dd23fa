"""Stating child objects: server-side apply, only when the child is not as we left it, and never over somebody else's object.

An apply that changes nothing still costs the API server a write. So what was stated is remembered, together with how the object looked
afterwards; while both are the same, nothing is sent. An object that somebody edited looks different and is stated again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import MutableMapping
from typing import Any

from relayfleet.api.labels import MANAGED_BY, MANAGER
from relayfleet.kube.client import Kube, Object


class NotOursError(Exception):
    """An object of the child's name exists that is not ours; the text says which and what to do."""


async def state(kube: Kube, obj: Object, memory: MutableMapping[Any, Any]) -> Object:
    """Bring a child to what `obj` states; returns it as it is now. `memory` may be lost at any time: then it is stated once more.

    Raises NotOursError, and the errors of `kube.errors`.
    """
    live = await kube.get(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])
    return await state_over(kube, live, obj, memory)


async def state_over(kube: Kube, live: Object | None, obj: Object, memory: MutableMapping[Any, Any]) -> Object:
    """The same over an object that the caller has read: what it states then depends on what is there."""
    key = (obj["kind"], obj["metadata"]["name"])
    if live and not _ours(live, obj):
        raise NotOursError(
            f"{obj['kind']} {obj['metadata']['name']} exists and is not this operator's: delete it, or choose another name"
        )
    wanted = _digest(obj)
    if live and memory.get(key) == (wanted, _digest(_lasting(live))):
        return live
    applied = await kube.apply(obj)
    memory[key] = (wanted, _digest(_lasting(applied)))
    return applied


def _ours(live: Object, obj: Object) -> bool:
    """By label or by owner: an edit may take one of them away."""
    if live["metadata"].get("labels", {}).get(MANAGED_BY) == MANAGER:
        return True
    owners = {(each["kind"], each["name"]) for each in obj["metadata"].get("ownerReferences", ())}
    return any((each["kind"], each["name"]) in owners for each in live["metadata"].get("ownerReferences", ()))


def _lasting(obj: Object) -> Object:
    """Without what changes by itself."""
    passing = ("resourceVersion", "managedFields", "generation")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in passing}
    return {key: value for key, value in obj.items() if key not in ("status", "apiVersion", "kind")} | {
        "metadata": metadata
    }


def _digest(obj: Object) -> str:
    return hashlib.sha256(json.dumps(obj, sort_keys=True).encode()).hexdigest()
