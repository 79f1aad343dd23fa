"""Faults of brokers: killed, frozen, restarted, cut off from each other, leaders moved. Each ends by itself."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, ExitStack

from tests.bench._faults_at_relays import kill
from tests.bench._faults_brokers import POOL
from tests.bench._faults_network import cut
from tests.bench._faults_scene import DIRECTIONS, LONGEST, Scene
from tests.relay.broker.cluster import BROKERS
from tests.testbed.bounded import fault
from tests.testbed.shell import run


async def broker_killed(scene: Scene) -> None:
    broker, seconds = await scene.broker(), scene.seconds(1, 5)
    scene.begin()
    with _dead(scene, broker):
        await asyncio.sleep(seconds)


async def broker_and_relay_killed(scene: Scene) -> None:
    broker, relay, seconds = await scene.broker(), scene.relay(), scene.seconds(1, 5)
    scene.begin()
    with _dead(scene, broker):
        await kill(relay, seconds)


async def broker_frozen(scene: Scene) -> None:
    broker, seconds = await scene.broker(), scene.seconds(2, 15)
    frozen = scene.brokers.stand_still(broker)
    scene.begin()
    with frozen:
        await asyncio.sleep(seconds)


async def broker_restarted(scene: Scene) -> None:
    broker = await scene.broker()
    scene.begin()
    await asyncio.to_thread(run, "docker", "restart", "-t", "30", scene.brokers.container(broker))


async def broker_cut_off(scene: Scene) -> None:
    """From both others, in both directions or in one; relays reach all three."""
    broker, seconds, directions = await scene.broker(), scene.seconds(3, 15), scene.rng.choice(DIRECTIONS)
    scene.struck.note += f"from both others, {' and '.join(directions)}; "
    others = [scene.brokers.address(number) for number in BROKERS if number != broker]
    await _cut_broker(scene, broker, others, directions, seconds)


async def link_cut(scene: Scene) -> None:
    """Between two brokers, while the third sees both: what hurts consensus most."""
    broker, seconds, directions = await scene.broker(), scene.seconds(3, 15), scene.rng.choice(DIRECTIONS)
    other = scene.rng.choice([number for number in BROKERS if number != broker])
    scene.struck.note += f"from broker {other}, {' and '.join(directions)}; "
    await _cut_broker(scene, broker, [scene.brokers.address(other)], directions, seconds)


async def leader_moved(scene: Scene) -> None:
    queue = f"{POOL}.v1.ready.{scene.rng.choice('ab')}"
    leader, drawn = await scene.brokers.leader(queue), scene.rng.choice((1, 2))
    target = ((leader or 0) + drawn) % len(BROKERS)
    scene.begin()
    said = await asyncio.to_thread(scene.brokers.move_leader, queue, target)
    scene.struck.note += f"{queue} from {leader} to {target}: {said}; "


async def majority_lost(scene: Scene) -> None:
    """Two brokers killed at once: the one kind that may stop intake."""
    spared, seconds = scene.rng.choice(BROKERS), scene.seconds(2, 5)
    victims = [number for number in BROKERS if number != spared]
    scene.struck.brokers = tuple(victims)
    scene.begin()
    with ExitStack() as stack:
        for number in victims:
            stack.enter_context(_dead(scene, number))
        await asyncio.sleep(seconds)
    await scene.brokers.well(LONGEST)  # what comes next shall not be blamed for this


def _dead(scene: Scene, number: int) -> AbstractContextManager[None]:
    return fault(lambda: scene.brokers.kill(number), ("docker", "start", scene.brokers.container(number)), LONGEST)


async def _cut_broker(scene: Scene, broker: int, peers: list[str], directions: tuple[str, ...], seconds: float) -> None:
    inside = ("nsenter", "-t", str(scene.brokers.process(broker)), "-n")
    scene.begin()
    with cut(inside, peers, directions, LONGEST):
        await asyncio.sleep(seconds)
