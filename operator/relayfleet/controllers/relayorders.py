"""What each relay of a pool is told: to serve or to leave, as its place in traffic is, in the words of the verdict.

Slices come first: a relay that answers 421 while it is still listed would get the same clients again.
"""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.controllers import relaypods, relaywatch
from relayfleet.controllers.context import Context
from relayfleet.controllers.relaypeers import Peer
from relayfleet.controllers.specs import paused
from relayfleet.decide.pool.dismissal import dismissed
from relayfleet.kube.client import Object
from relayfleet.protocol.telemetry import Order, Stand


def tell(context: Context, pool: Object, pods: Sequence[Object]) -> None:
    """Talk to the relays that are watched. Those of a paused pool are heard, and ordered nothing: their last order stays."""
    if context.links is None:
        return
    whose = relaywatch.pool_name(pool)
    out = dismissed(relaywatch.relays(context, pods, whose))
    watched = [pod for pod in pods if context.health.verdict(whose, pod["metadata"]["name"])]
    peers = [_peer(pod, None if paused(pool) else _order(context, pod, pool, out)) for pod in watched]
    context.links.follow(whose, peers)
    context.usage.keep(whose, [pod["metadata"]["name"] for pod in pods])


def _peer(pod: Object, order: Order | None) -> Peer:
    return Peer(pod["metadata"]["name"], next(iter(relaypods.addresses(pod).values())), order)


def _order(context: Context, pod: Object, pool: Object, out: frozenset[str]) -> Order:
    if pod["metadata"]["name"] not in out:
        return Order(Stand.SERVE)
    place = relaywatch.place(context, pod, relaywatch.pool_name(pool))
    return Order(Stand.LEAVE, f"{place.reason}: {place.message}")
