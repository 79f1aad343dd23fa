"""A reconcile that the API server does not let finish must not look like one that never began: its words go into the status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from relayfleet.controllers.context import Context
from relayfleet.controllers.telling import tell
from relayfleet.decide.statement import Statement
from relayfleet.kube.errors import KubeError, KubeForbidden, KubeInvalid

Reconcile = Callable[[Context, str, str], Awaitable[float | None]]


async def reconciled(context: Context, kind: str, namespace: str, name: str, reconcile: Reconcile) -> float | None:
    """Reconcile; tell of a refusal, then let it rise, so that the work queue comes back with backoff."""
    try:
        return await reconcile(context, namespace, name)
    except (KubeForbidden, KubeInvalid) as error:
        obj = await context.kube.get(kind, namespace, name)
        if obj is not None:
            await tell(context, obj, refused(error), {})
        raise


def refused(error: KubeError) -> tuple[Statement, ...]:
    """Not Stalled: what the API server refuses today (a right, a quota, a policy) may be granted any minute, and then it goes on."""
    cure = (
        "grant it (the chart's ClusterRole) and it goes on"
        if isinstance(error, KubeForbidden)
        else "see the operator's log"
    )
    message = f"the API server refuses a step: {error}; {cure}"
    return (
        Statement("Ready", "False", "ApplyFailed", message),
        Statement("Reconciling", "True", "ApplyFailed", message),
        Statement("Degraded", "True", "ApplyFailed", message),
        Statement("Stalled", "False", "AsAsked", "it is tried again"),
    )
