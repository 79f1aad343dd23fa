"""Writing a resource's status: only when it says something new, and as its one owner."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from relayfleet.kube.client import Kube, Object


@dataclass(frozen=True, slots=True)
class Saying:
    """One condition as it should read now. `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str


def merged(old: list[Object], sayings: list[Saying], generation: int, now: datetime.datetime) -> list[Object]:
    """The conditions that follow: a transition time moves only when the status does. Sorted by type."""
    before = {each["type"]: each for each in old}
    return [
        _merge(before.get(saying.type), saying, generation, now)
        for saying in sorted(sayings, key=lambda each: each.type)
    ]


def _merge(before: Object | None, saying: Saying, generation: int, now: datetime.datetime) -> Object:
    since = now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if before and before.get("status") == saying.status:
        since = before.get("lastTransitionTime", since)
    return {
        "type": saying.type,
        "status": saying.status,
        "reason": saying.reason,
        "message": saying.message,
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }


async def write_status(kube: Kube, obj: Object, sayings: list[Saying], fields: dict[str, Any]) -> bool:
    """Write conditions and `fields` (without those that are None); False when the status says all that already."""
    old = obj.get("status") or {}
    generation = obj["metadata"]["generation"]
    conditions = merged(old.get("conditions") or [], sayings, generation, datetime.datetime.now(datetime.UTC))
    status = {key: value for key, value in fields.items() if value is not None}
    status |= {"observedGeneration": generation, "conditions": conditions}
    if status == _sorted_conditions(old):
        return False
    await kube.apply_status(
        {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "metadata": {"name": obj["metadata"]["name"], "namespace": obj["metadata"]["namespace"]},
            "status": status,
        }
    )
    return True


def _sorted_conditions(status: Object) -> Object:
    return status | {"conditions": sorted(status.get("conditions") or [], key=lambda each: str(each["type"]))}
