"""Telling users: conditions into the status, and one event for each change of reason, in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relayfleet.act.kubernetes.status import Saying, write_status
from relayfleet.controllers.context import Context
from relayfleet.decide.statement import Statement
from relayfleet.kube.client import Object

_BAD = {
    ("Ready", "False"),
    ("Degraded", "True"),
    ("Stalled", "True"),
    ("DependenciesReady", "False"),
    ("ResolversReady", "False"),
    ("Fencing", "False"),
}
_ALWAYS = ("Ready", "DependenciesReady")


async def tell(context: Context, obj: Object, statements: Sequence[Statement], fields: dict[str, Any]) -> None:
    """Write conditions and status fields if they say something new, then an event for each new reason."""
    sayings = [Saying(each.type, each.status, each.reason, each.message) for each in statements]
    if not await write_status(context.kube, obj, sayings, fields):
        return
    for each in news((obj.get("status") or {}).get("conditions") or [], statements):
        await context.recorder.event(obj, each.reason, each.message, warning=(each.type, each.status) in _BAD)


def news(before: Sequence[Object], statements: Sequence[Statement]) -> list[Statement]:
    """The statements that are worth an event: Ready or DependenciesReady with a new reason, a new reason of Degraded or Stalled that is
    true, and ResolversReady that is not, or is again: that all is well with resolvers nobody asked for is no news. A cause that several of
    them name is told once."""
    known = {(each["type"], each["status"], each["reason"]) for each in before}
    found: dict[str, Statement] = {}
    for each in statements:
        again = each.type == "ResolversReady" and any(type_ == each.type and was == "False" for type_, was, _ in known)
        worth = again or each.type in _ALWAYS or (each.type, each.status) in _BAD
        if worth and (each.type, each.status, each.reason) not in known:
            found.setdefault(each.reason, each)
    return list(found.values())
