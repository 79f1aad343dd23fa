"""Faults of relays: killed, frozen, restarted, gone with their machine, cut off from brokers. Each ends by itself."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AbstractContextManager

from tests.bench._faults_network import cut
from tests.bench._faults_relays import Relay
from tests.bench._faults_scene import DIRECTIONS, LONGEST, Scene
from tests.relay.broker.cluster import BROKERS
from tests.testbed.bounded import fault


async def relay_killed(scene: Scene) -> None:
    relay, seconds = scene.relay(), scene.seconds(0.5, 3)
    scene.begin()
    await kill(relay, seconds)


async def relay_frozen(scene: Scene) -> None:
    long = scene.rng.random() < 0.7
    relay, seconds = scene.relay(), scene.seconds(12, 20) if long else scene.seconds(1, 6)
    scene.begin()
    with _frozen(relay):
        await asyncio.sleep(seconds)


async def relay_restarted(scene: Scene) -> None:
    relay = scene.relay()
    scene.begin()
    relay.signal(signal.SIGTERM)
    await asyncio.to_thread(relay.wait, 20)
    relay.start()


async def relay_gone(scene: Scene) -> None:
    """As with a whole machine: no FIN, no RST, no word; and then another one takes its place."""
    relay, seconds = scene.relay(), scene.seconds(12, 16)
    scene.begin()
    with cut(_inside(relay), (), ("in", "out"), LONGEST):
        relay.signal(signal.SIGKILL)
        relay.wait(5)
        await asyncio.sleep(seconds)
    relay.start()


async def relay_cut_off(scene: Scene) -> None:
    relay, seconds, directions = scene.relay(), scene.seconds(3, 14), scene.rng.choice(DIRECTIONS)
    scene.struck.note += f"from all brokers, {' and '.join(directions)}; "
    peers = [scene.brokers.address(number) for number in BROKERS]
    scene.begin()
    with cut(_inside(relay), peers, directions, LONGEST):
        await asyncio.sleep(seconds)


async def relay_cut_from_one(scene: Scene) -> None:
    relay, seconds, directions = scene.relay(), scene.seconds(3, 14), scene.rng.choice(DIRECTIONS)
    broker = await scene.broker()
    scene.struck.note += f"{' and '.join(directions)}; "
    scene.begin()
    with cut(_inside(relay), [scene.brokers.address(broker)], directions, LONGEST):
        await asyncio.sleep(seconds)


async def kill(relay: Relay, seconds: float) -> None:
    """And start it again, as the kubelet does."""
    relay.signal(signal.SIGKILL)
    relay.wait(5)
    await asyncio.sleep(seconds)
    relay.start()


def _frozen(relay: Relay) -> AbstractContextManager[None]:
    undo = ("kill", "-CONT", str(relay.pid))
    return fault(lambda: relay.signal(signal.SIGSTOP), undo, LONGEST)


def _inside(relay: Relay) -> tuple[str, ...]:
    return ("ip", "netns", "exec", relay.namespace)
