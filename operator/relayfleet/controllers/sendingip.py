"""SendingIP: who claims the address, and which pools send by it. It has no children; what follows for relays is the pool's business."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pydantic import ValidationError

from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.api.sendingip import SendingIPSpec
from relayfleet.controllers.context import Context
from relayfleet.controllers.specs import parsed, why_invalid
from relayfleet.controllers.telling import tell
from relayfleet.decide import claims, sending
from relayfleet.kube.client import Object, Objects

SHARED_FOR = 1.0
"""Seconds for which one list of all SendingIPs serves everybody who asks: thousands of them are looked at together at a start."""


@dataclass(frozen=True, slots=True)
class _Census:
    """All SendingIPs that the operator may see, and when they were asked for (monotonic)."""

    objects: Objects
    asked: float


async def reconcile(context: Context, namespace: str, name: str) -> float | None:
    """Write what is to be said about a SendingIP."""
    mine = await context.kube.get("SendingIP", namespace, name)
    if mine is None or "deletionTimestamp" in mine["metadata"]:
        return None
    try:
        spec = SendingIPSpec.model_validate(mine["spec"])
    except ValidationError as error:
        await tell(context, mine, sending.invalid(why_invalid(error)), {})
        return None
    claim = _claim(mine)
    held_by = await _holder(context, mine)
    usable = held_by == claim and spec.region == context.settings.region
    pools = await _pools(context, mine) if usable else []
    said = sending.statements(claim, held_by, spec.region, context.settings.region, pools)
    await tell(context, mine, said, {"pools": pools or None})
    return None


async def _holder(context: Context, mine: Object) -> claims.Claim:
    """Who holds the address. An older list is good enough to say that it is ours, if we are in it: whoever is older is in it too. That it
    is another's is said only after a fresh look, since the other may be gone."""
    claim = _claim(mine)
    census = context.memory.get(_Census)
    started = time.monotonic()
    if census and started - census.asked < SHARED_FOR and any(_claim(each) == claim for each in census.objects):
        held_by = claims.holder(claim, map(_claim, census.objects))
        if held_by == claim:
            return claim
    census = _Census(await _everywhere(context), started)
    context.memory[_Census] = census
    return claims.holder(claim, map(_claim, census.objects))


async def _everywhere(context: Context) -> Objects:
    namespaces: tuple[str | None, ...] = context.settings.namespaces or (None,)
    return [each for namespace in namespaces for each in await context.kube.list("SendingIP", namespace)]


def _claim(obj: Object) -> claims.Claim:
    metadata = obj["metadata"]
    address = str(obj.get("spec", {}).get("address", ""))
    return claims.Claim(
        metadata["namespace"], metadata["name"], metadata["uid"], address, metadata["creationTimestamp"]
    )


async def _pools(context: Context, mine: Object) -> list[str]:
    """The pools of the namespace that select it."""
    labels = mine["metadata"].get("labels", {})
    found = []
    for pool in await context.kube.list("RelayPool", mine["metadata"]["namespace"]):
        spec = parsed(RelayPoolSpec, pool)
        if spec and spec.sending_ip_selector.matches(labels):
            found.append(pool["metadata"]["name"])
    return sorted(found)[:64]
