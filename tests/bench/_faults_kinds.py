"""The kinds of faults and how often each comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.bench import _faults_at_brokers as at_brokers
from tests.bench import _faults_at_disks as at_disks
from tests.bench import _faults_at_relays as at_relays
from tests.bench._faults_scene import Scene


@dataclass(frozen=True)
class Kind:
    """`weight`: how many of 29 faults are of this kind. `brokers`: it hurts one, so all must be well before."""

    strike: Callable[[Scene], Awaitable[None]]
    weight: int
    brokers: bool = False


KINDS = {
    "relay.killed": Kind(at_relays.relay_killed, 4),
    "relay.frozen": Kind(at_relays.relay_frozen, 3),
    "relay.restarted": Kind(at_relays.relay_restarted, 2),
    "relay.gone": Kind(at_relays.relay_gone, 1),
    "relay.cut-off": Kind(at_relays.relay_cut_off, 2),
    "relay.cut-from-one": Kind(at_relays.relay_cut_from_one, 1),
    "broker.killed": Kind(at_brokers.broker_killed, 3, brokers=True),
    "broker.frozen": Kind(at_brokers.broker_frozen, 2, brokers=True),
    "broker.restarted": Kind(at_brokers.broker_restarted, 1, brokers=True),
    "broker.cut-off": Kind(at_brokers.broker_cut_off, 2, brokers=True),
    "broker.link-cut": Kind(at_brokers.link_cut, 1, brokers=True),
    "leader.moved": Kind(at_brokers.leader_moved, 2, brokers=True),
    "broker-and-relay.killed": Kind(at_brokers.broker_and_relay_killed, 1, brokers=True),
    "majority.lost": Kind(at_brokers.majority_lost, 1, brokers=True),
    "disk.full": Kind(at_disks.disk_full, 1, brokers=True),
    "disk.stalled": Kind(at_disks.disk_stalled, 1, brokers=True),
    "power.lost": Kind(at_disks.power_lost, 1, brokers=True),
}
STOPPING = ("majority.lost", "power.lost")
"""No queue has a majority meanwhile, so no mail can be stored."""
