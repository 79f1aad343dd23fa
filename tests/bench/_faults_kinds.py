"""The kinds of faults: what each does, to whom, for how long. Each ends by itself, even when the bench does not live to see it.

A kind chooses its victims and times with the run's own random numbers, notes them, strikes, waits, and undoes.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from random import Random

from tests.bench._faults_brokers import POOL, FaultBrokers
from tests.bench._faults_network import cut
from tests.bench._faults_relays import Relay
from tests.relay.broker.cluster import BROKERS
from tests.testbed.bounded import fault
from tests.testbed.shell import run

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


async def relay_killed(scene: Scene) -> None:
    relay, seconds = scene.relay(), scene.seconds(0.5, 3)
    scene.begin()
    await _kill(relay, seconds)


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


async def broker_killed(scene: Scene) -> None:
    broker, seconds = await scene.broker(), scene.seconds(1, 5)
    scene.begin()
    with _dead(scene, broker):
        await asyncio.sleep(seconds)


async def broker_and_relay_killed(scene: Scene) -> None:
    broker, relay, seconds = await scene.broker(), scene.relay(), scene.seconds(1, 5)
    scene.begin()
    with _dead(scene, broker):
        await _kill(relay, seconds)


async def broker_frozen(scene: Scene) -> None:
    broker, seconds = await scene.broker(), scene.seconds(2, 15)
    container = scene.brokers.container(broker)
    scene.begin()
    with fault(lambda: run("docker", "pause", container), ("docker", "unpause", container), LONGEST):
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


@dataclass(frozen=True)
class Kind:
    """`weight`: how many of 26 faults are of this kind. `brokers`: it hurts one, so all must be well before."""

    strike: Callable[[Scene], Awaitable[None]]
    weight: int
    brokers: bool = False


KINDS = {
    "relay.killed": Kind(relay_killed, 4),
    "relay.frozen": Kind(relay_frozen, 3),
    "relay.restarted": Kind(relay_restarted, 2),
    "relay.gone": Kind(relay_gone, 1),
    "relay.cut-off": Kind(relay_cut_off, 2),
    "relay.cut-from-one": Kind(relay_cut_from_one, 1),
    "broker.killed": Kind(broker_killed, 3, brokers=True),
    "broker.frozen": Kind(broker_frozen, 2, brokers=True),
    "broker.restarted": Kind(broker_restarted, 1, brokers=True),
    "broker.cut-off": Kind(broker_cut_off, 2, brokers=True),
    "broker.link-cut": Kind(link_cut, 1, brokers=True),
    "leader.moved": Kind(leader_moved, 2, brokers=True),
    "broker-and-relay.killed": Kind(broker_and_relay_killed, 1, brokers=True),
    "majority.lost": Kind(majority_lost, 1, brokers=True),
}


async def _kill(relay: Relay, seconds: float) -> None:
    """And start it again, as the kubelet does."""
    relay.signal(signal.SIGKILL)
    relay.wait(5)
    await asyncio.sleep(seconds)
    relay.start()


def _frozen(relay: Relay) -> AbstractContextManager[None]:
    undo = ("kill", "-CONT", str(relay.pid))
    return fault(lambda: relay.signal(signal.SIGSTOP), undo, LONGEST)


def _dead(scene: Scene, number: int) -> AbstractContextManager[None]:
    return fault(lambda: scene.brokers.kill(number), ("docker", "start", scene.brokers.container(number)), LONGEST)


async def _cut_broker(scene: Scene, broker: int, peers: list[str], directions: tuple[str, ...], seconds: float) -> None:
    inside = ("nsenter", "-t", str(scene.brokers.process(broker)), "-n")
    scene.begin()
    with cut(inside, peers, directions, LONGEST):
        await asyncio.sleep(seconds)


def _inside(relay: Relay) -> tuple[str, ...]:
    return ("ip", "netns", "exec", relay.namespace)
