"""The relays that the leader talks to, and what each should be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from relayfleet.controllers.evidence import PoolName
from relayfleet.protocol.telemetry import Order


@dataclass(frozen=True, slots=True)
class Peer:
    """One relay by its pod's name and address. `order` None: it stands as it was last told to."""

    relay: str
    host: str
    order: Order | None


class Links(Protocol):
    """Whoever carries orders to relays."""

    def follow(self, pool: PoolName, peers: Sequence[Peer]) -> None:
        """Talk to these relays of a pool from now on, and to no others of it."""
