"""Who goes first when the pool shrinks: cordoned relays, the worst first.

A ReplicaSet deletes pods that are not ready before ready ones, so one that starts, or whose probes fail, needs no cost of ours.
"""

from __future__ import annotations

from relayfleet.decide.health.words import Level

_COSTS = {Level.SOFT: -100, Level.HARD: -200}


def deletion_cost(level: Level) -> int | None:
    """The pod-deletion-cost of a relay; None: none of its own, which counts as 0."""
    return _COSTS.get(level)
