"""Who goes: first when the pool shrinks (cordoned relays, the worst first), and at all when it stays bad.

A ReplicaSet deletes pods that are not ready before ready ones, so one that starts, or whose probes fail, needs no cost of ours.
"""

from __future__ import annotations

from collections.abc import Iterable

from relayfleet.decide.health.verdict import Verdict
from relayfleet.decide.health.words import Level, Reason

REPLACED_AFTER = 60.0
"""Seconds under a hard cordon after which a relay's pod is made anew. The kubelet's restarts of its container come sooner, where they help."""

_COSTS = {Level.SOFT: -100, Level.HARD: -200}


def deletion_cost(level: Level) -> int | None:
    """The pod-deletion-cost of a relay; None: none of its own, which counts as 0."""
    return _COSTS.get(level)


def to_replace(verdicts: Iterable[Verdict], *, leaving: bool) -> Verdict | None:
    """The relay whose pod should be made anew: hard cordoned by its evidence for a minute, the longest first. One at a time: nobody while
    another one is `leaving`. A relay that a person cordoned is left to that person."""
    lasting = [
        each
        for each in verdicts
        if each.level is Level.HARD and each.reason is not Reason.ORDERED and each.age >= REPLACED_AFTER
    ]
    return None if leaving else max(lasting, key=lambda each: (each.age, each.relay), default=None)
