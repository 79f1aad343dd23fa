"""Faults of the brokers' disks: one is full, one stands still, all lose what was not synced. Each ends by itself."""

from __future__ import annotations

import asyncio

from tests.bench._faults_brokers import FaultBrokers
from tests.bench._faults_scene import LONGEST, Scene
from tests.relay.broker.cluster import BROKERS
from tests.testbed.bounded import fault
from tests.testbed.shell import run

STALL_SECONDS = 5.0


async def disk_full(scene: Scene) -> None:
    """To the last block, by somebody else. A broker that ends by it is started again once there is room, as the kubelet does."""
    broker, seconds = await scene.broker(), scene.seconds(5, 15)
    disk, container = scene.brokers.disks[broker], scene.brokers.container(broker)
    scene.begin()
    with fault(disk.fill, ("sh", "-c", f"{disk.room_again}; docker start {container}"), LONGEST):
        await asyncio.sleep(seconds)
        if not scene.brokers.runs(broker):
            scene.struck.note += "it ended by itself; "


async def disk_stalled(scene: Scene) -> None:
    """A write or an fsync takes five seconds, while the broker talks and answers."""
    broker = await scene.broker()
    disk = scene.brokers.disks[broker]
    scene.begin()
    with fault(disk.stand_still, disk.go_on, LONGEST):
        await asyncio.sleep(STALL_SECONDS)


async def power_lost(scene: Scene) -> None:
    """At all brokers at once. Each is stopped before its disk is, so that none goes on with one that lies to it."""
    scene.struck.brokers, seconds = tuple(BROKERS), scene.seconds(1, 3)
    containers = " ".join(scene.brokers.container(each) for each in BROKERS)
    again = "; ".join([*(each.power_again for each in scene.brokers.disks), f"docker start {containers}"])
    scene.begin()
    with fault(lambda: _lose_power(scene.brokers), ("sh", "-c", again), LONGEST):
        await asyncio.sleep(seconds)
    await scene.brokers.well(LONGEST)  # what comes next shall not be blamed for this


def _lose_power(brokers: FaultBrokers) -> None:
    containers = [brokers.container(each) for each in BROKERS]
    run("docker", "pause", *containers)
    for each in brokers.disks:
        each.lose_power()
    run("docker", "kill", *containers)
    run("docker", "wait", *containers)
