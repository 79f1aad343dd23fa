"""What every controller gets: the API server, the settings, the recorder, the verdicts on relays, what relays tell
of dependencies, of their keys, of the suppression list and of submitters, what is seen of brokers, what the watches told, and a memory that lives as long as the leader does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from relayfleet.act.kubernetes.events import Recorder
from relayfleet.controllers.brokersights import BrokerSights
from relayfleet.controllers.relaydependencies import Reports
from relayfleet.controllers.relayfences import Fences
from relayfleet.controllers.relayhealth import Health
from relayfleet.controllers.relaypeers import Links
from relayfleet.controllers.relayusage import PoolUsages
from relayfleet.controllers.relaywords import LaneWords, ParkingWords, SealingWords, SigningWords, SuppressionWords
from relayfleet.kube.client import Kube
from relayfleet.kube.mirror import Mirror
from relayfleet.runtime.settings import Settings


@dataclass(frozen=True)
class Context:
    """`links` None: relays are not talked to. `permit` raises NotLeader unless the lease is surely ours: `kube` asks it before each write, whoever
    writes elsewhere asks it himself. `memory` holds what one reconcile wants the next one to know, by a key of the controller's choice; it may be lost at any time."""

    kube: Kube
    settings: Settings
    recorder: Recorder
    health: Health
    links: Links | None = None
    dependencies: Reports = field(default_factory=Reports)
    mirror: Mirror = field(default_factory=Mirror)
    memory: dict[Any, Any] = field(default_factory=dict)
    signing: SigningWords = field(default_factory=SigningWords)
    sealing: SealingWords = field(default_factory=SealingWords)
    suppression: SuppressionWords = field(default_factory=SuppressionWords)
    lanes: LaneWords = field(default_factory=LaneWords)
    parking: ParkingWords = field(default_factory=ParkingWords)
    usage: PoolUsages = field(default_factory=PoolUsages)
    brokers: BrokerSights = field(default_factory=BrokerSights)
    fences: Fences = field(default_factory=Fences)
    permit: Callable[[], None] = lambda: None
