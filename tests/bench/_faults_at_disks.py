"""Faults of the brokers' disks: one is full, one stands still, all lose what was not synced. Each ends by itself."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from tests.bench._faults_brokers import FaultBrokers
from tests.bench._faults_scene import LONGEST, Scene
from tests.relay.broker.cluster import BROKERS
from tests.testbed.bounded import fault
from tests.testbed.shell import TestbedError, run

STALL_SECONDS = 5.0


async def disk_full(scene: Scene) -> None:
    """To the last block, by somebody else. A broker that ends by it is started again once there is room, as the kubelet does."""
    broker, seconds = await scene.broker(), scene.seconds(5, 15)
    disk, container = scene.brokers.disks[broker], scene.brokers.container(broker)
    scene.begin()
    with fault(disk.fill, ("sh", "-c", f"{disk.room_again}; docker start {container}"), LONGEST):
        await asyncio.sleep(seconds)
        scene.struck.note += f"{disk.room >> 20} MiB free in the end; "
        if not scene.brokers.runs(broker):
            scene.struck.note += "it ended by itself; "
    _see(scene, broker)


async def disk_stalled(scene: Scene) -> None:
    """A write or an fsync takes five seconds, while the broker talks and answers."""
    broker = await scene.broker()
    disk = scene.brokers.disks[broker]
    scene.begin()
    with fault(disk.stand_still, disk.go_on, LONGEST):
        await asyncio.sleep(STALL_SECONDS)
    _see(scene, broker)


async def power_lost(scene: Scene) -> None:
    """At all brokers at once. Each is stopped before its disk is, so that none goes on with one that lies to it."""
    scene.struck.brokers, seconds = tuple(BROKERS), scene.seconds(1, 3)
    scene.begin()
    with fault(lambda: _lose_power(scene.brokers), ("sh", "-c", _power_again(scene.brokers)), LONGEST):
        await asyncio.sleep(seconds)
    _see(scene, *BROKERS)
    kept = [each for each in BROKERS if not scene.brokers.disks[each].lost_what_was_not_synced]
    if kept:
        raise TestbedError(f"what was not synced is still on the disks of brokers {kept}")
    if not await scene.brokers.well(LONGEST):  # what comes next shall not be blamed for this
        scene.struck.note += f"not well {LONGEST:.0f} s later; "


def _lose_power(brokers: FaultBrokers) -> None:
    containers = [brokers.container(each) for each in BROKERS]
    with ExitStack() as stack:
        for number in BROKERS:
            stack.enter_context(brokers.stand_still(number))
        for each in brokers.disks:
            each.lose_power()
        run("docker", "kill", *containers)
        run("docker", "wait", *containers)


def _power_again(brokers: FaultBrokers) -> str:
    """Whatever of `_lose_power` was done."""
    containers = " ".join(brokers.container(each) for each in BROKERS)
    disks = [each.power_again for each in brokers.disks]
    return "; ".join([f"docker kill {containers}", f"docker wait {containers}", *disks, f"docker start {containers}"])


def _see(scene: Scene, *brokers: int) -> None:
    """That the disks are as before. Raises TestbedError: no fault after this would mean what it says."""
    troubles = [f"broker {each}: {why}" for each in brokers if (why := scene.brokers.disks[each].trouble)]
    if troubles:
        raise TestbedError("; ".join(troubles))
