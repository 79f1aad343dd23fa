"""What a fault works with: the fleet, the run's own random numbers, and the note of what was done to whom."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from random import Random

from tests.bench._faults_brokers import POOL, FaultBrokers
from tests.bench._faults_relays import Relay
from tests.relay.broker.cluster import BROKERS

LONGEST = 45.0
"""Seconds after which a watchdog undoes what the bench has not."""
DIRECTIONS = (("in", "out"), ("in",), ("out",))


@dataclass
class Struck:
    """One fault. Unix seconds: `began` right before it, `ended` when it was undone. `relays` by HELO name; `in_hand`, by relay, just before."""

    kind: str
    began: float = 0.0
    ended: float = 0.0
    relays: tuple[str, ...] = ()
    brokers: tuple[int, ...] = ()
    note: str = ""
    in_hand: dict[str, float] = field(default_factory=dict)


@dataclass
class Scene:
    """What a kind works with."""

    brokers: FaultBrokers
    relays: list[Relay]
    rng: Random
    struck: Struck

    def relay(self) -> Relay:
        """One of them, as victim."""
        chosen = self.rng.choice(self.relays)
        self.struck.relays += (chosen.helo,)
        return chosen

    async def broker(self) -> int:
        """One of them, as victim: as often as not the one that leads the first lane."""
        queue, leads = f"{POOL}.v1.ready.a", self.rng.random() < 0.5
        other, leader = self.rng.choice(BROKERS), await self.brokers.leader(queue)
        chosen = leader if leads and leader is not None else other
        self.struck.brokers += (chosen,)
        self.struck.note += f"broker {chosen}{' leads ' + queue if chosen == leader else ''}; "
        return chosen

    def seconds(self, low: float, high: float) -> float:
        """How long."""
        chosen = self.rng.uniform(low, high)
        self.struck.note += f"{chosen:.1f} s; "
        return chosen

    def begin(self) -> None:
        """To be called right before the blow."""
        self.struck.began = time.time()
