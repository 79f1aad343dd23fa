"""A relay as the pool's decisions see it: what is known of its pod, and the level and weight that health and people gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relayfleet.decide.health.words import Level, Reason
from relayfleet.decide.weights import QUARTERS


@dataclass(frozen=True, slots=True)
class Place:
    """A relay's place in traffic: its level and weight (in quarters), and why, in a word and in a sentence."""

    level: Level = Level.ACTIVE
    weight: int = QUARTERS
    reason: str = Reason.HEALTHY.value
    message: str = ""


IN_TRAFFIC = Place()


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay pod that has an address and has not ended.

    `addresses` has one address a family (IPv4, IPv6). `serves`: its containers are ready, by the kubelet's probes. `leaving`: it is being
    deleted. `level` and `weight` (in quarters) are the verdict about it.
    """

    name: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    serves: bool = True
    leaving: bool = False
    level: Level = Level.ACTIVE
    weight: int = QUARTERS
