"""Probers of real brokers: what they leave there, what they may do there, and how soon a broker that stands still or dies is named.

Two probers as in a cluster, in one process; what they see goes to the leader's memory and its decisions as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from relayfleet.act.broker.management import Management
from relayfleet.amqp.errors import AccessRefused, AmqpError, ChannelLost
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.children.rabbitmq import names
from relayfleet.controllers import queuebrokers
from relayfleet.controllers.brokersights import BrokerSights
from relayfleet.controllers.queuebrokers import prober_password
from relayfleet.controllers.queuememory import QueueMemory
from relayfleet.decide.health.roster import Vantage
from relayfleet.observe.probing import brokerfleet, canary, perches
from relayfleet.observe.probing.brokerfleet import BrokerFleet
from relayfleet.observe.probing.brokersighting import BrokerSighting
from relayfleet.protocol.brokerprobing import CANARY, BrokerTarget
from relayfleet.protocol.probing import Seen
from tests.relay.broker.cluster import BROKERS, QUEUE, Brokers
from tests.relay.broker.conftest import whole
from tests.relay.broker.test_management import PASSWORD, USER, pods
from tests.testbed.shell import run

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

VANTAGES = ("one", "two")
NAME = (QUEUE["metadata"]["namespace"], QUEUE["metadata"]["name"])
LEASE = 15.0
"""Seconds after which a canary goes that nobody uses. The broker looks each five."""
NAMED_WITHIN, BACK_WITHIN = 10.0, 60.0
"""Seconds that a test on busy cores waits; what it took is printed."""


@dataclass
class Probing:
    """Two probers and what the leader makes of their words."""

    sights: BrokerSights
    seen: list[BrokerSighting]

    def named(self) -> dict[str, str]:
        return {each.pod: each.reason for each in self.sights.of(NAME).silent}

    async def until(self, holds: Callable[[], bool], seconds: float, what: str) -> float:
        """Wait; returns the seconds that it took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what}; {self.sights.of(NAME)}"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def all_confirm(self) -> None:
        """Wait until each prober has some confirms of each broker."""
        start = len(self.seen)

        def done() -> bool:
            confirms = [each.key for each in self.seen[start:] if (each.kind, each.step) == ("Answered", "Publish")]
            return all(confirms.count(key(number)) >= 6 for number in BROKERS) and not self.named()

        await self.until(done, BACK_WITHIN, "all brokers confirm")


def key(number: int) -> str:
    return f"key/{number}"


def target(brokers: Brokers, number: int) -> BrokerTarget:
    host, login = names.host(QUEUE, number), (names.PROBER_USER, prober_password(brokers.admin))
    return BrokerTarget(
        key(number), brokers.address(number), names.AMQPS, host, names.VHOST, 3, brokers.admin["ca.crt"], *login
    )


def phase(asked: BrokerTarget, when: str) -> float:
    """Of a prober that begins now and asks this broker after a third of an interval, or after two thirds. Each has its place within the interval by its
    key: this test takes one that is followed by a long gap, so that the others are asked after it, or before it."""
    soon = 0.3 if when == "first" else -0.3
    return ((time.monotonic() + soon) / asked.interval - zlib.crc32(asked.key.encode()) / 2**32) % 1.0


async def look_after(brokers: Brokers) -> None:
    memory, client = QueueMemory(), {"username": USER, "password": PASSWORD}
    endpoints = [brokers.endpoint(each) for each in BROKERS]
    await queuebrokers.look_after(endpoints, brokers.admin, client, pods(), memory)
    assert not memory.unreachable


@contextlib.asynccontextmanager
async def probing(brokers: Brokers, *, looked_after: bool = True) -> AsyncIterator[Probing]:
    """The users are made as the operator makes them, unless they are there."""
    if looked_after:
        await look_after(brokers)
    found = Probing(BrokerSights(), [])
    found.sights.present(tuple(Vantage(each, each) for each in VANTAGES))
    targets = {names.pod(QUEUE, number): target(brokers, number) for number in BROKERS}
    found.sights.see(NAME, targets)

    def hear(vantage: str) -> Callable[[BrokerSighting], None]:
        def take(sighting: BrokerSighting) -> None:
            found.seen.append(sighting)
            now = time.monotonic()
            found.sights.take(vantage, Seen((), now, (sighting.told(now),)))

        return take

    fleets = [BrokerFleet(hear(vantage)) for vantage in VANTAGES]
    for fleet in fleets:
        fleet.watch(targets.values())
    try:
        yield found
    finally:
        for fleet in fleets:
            fleet.close()


async def canaries(management: Management) -> dict[str, int]:
    """Records in each canary."""
    return {
        each["name"]: int(each.get("messages") or 0)
        for each in await management.queues()
        if each["name"].startswith(CANARY)
    }


async def test_canaries_are_few_and_small_are_no_mail_and_go_by_themselves(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "EXPIRES", LEASE)
    ran_out, gone = [0], perches.Perches.gone

    def counted(self: perches.Perches) -> None:
        ran_out[0] += 1
        gone(self)

    monkeypatch.setattr(perches.Perches, "gone", counted)
    async with probing(brokers) as found, brokers.management() as management:
        await found.all_confirm()
        start, cpu, began = len(found.seen), time.process_time(), time.monotonic()
        await asyncio.sleep(2 * LEASE)
        share = (time.process_time() - cpu) / (time.monotonic() - began)
        latencies = sorted(each.latency for each in found.seen[start:] if each.step == "Publish")
        print(f"6 watchers take {share:.1%} of a core; confirm p50 {latencies[len(latencies) // 2] * 1000:.1f} ms")
        print({(each.kind, each.step) for each in found.seen[start:]})
        assert ran_out[0] == 0, "each connection renews the lease"
        assert not found.named()
        held = await canaries(management)
        watchers = len(BROKERS) * len(VANTAGES)
        assert watchers <= len(held) <= 2 * watchers, "one each, and one that was left after a trouble"
        assert max(held.values()) <= 1
        assert await queuebrokers.records(management) == 0
        assert not [each for each in (await queuebrokers.read(management)).queues if each.name.startswith(CANARY)]
        leaders = {each["name"]: each["leader"] for each in await management.queues() if each["name"] in held}
        for number in BROKERS:
            own = [leader for name, leader in leaders.items() if name.split(".")[2] == names.pod(QUEUE, number)]
            assert own.count(names.node(QUEUE, number)) >= len(VANTAGES), leaders
    async with brokers.management() as management:
        deadline = time.monotonic() + 60
        while left := await canaries(management):
            assert time.monotonic() < deadline, left
            await asyncio.sleep(0.5)


async def test_a_prober_may_do_nothing_but_keep_canaries(brokers: Brokers) -> None:
    async with probing(brokers) as found:
        await found.all_confirm()
    with pytest.raises(AccessRefused):
        await brokers.log_in(names.PROBER_USER, brokers.admin["password"])
    connection = await brokers.log_in(names.PROBER_USER, prober_password(brokers.admin))
    try:
        channel = await PublishChannel.open(connection, 5)
        with pytest.raises(ChannelLost, match="ACCESS_REFUSED"):
            await channel.declare("mail", 5, arguments={"x-queue-type": "quorum"})
        channel = await PublishChannel.open(connection, 5)
        with pytest.raises(AmqpError, match="ACCESS_REFUSED"):
            async with asyncio.timeout(5):
                await channel.publish("mail", b"not mine", "x").stored
    finally:
        await connection.close()


async def test_a_broker_that_stands_still_is_named_within_seconds_and_no_other(brokers: Brokers) -> None:
    async with probing(brokers) as found:
        await found.all_confirm()
        for number in (0, 1):
            run("docker", "pause", brokers.container(number))
            try:
                took = await found.until(lambda: bool(found.named()), NAMED_WITHIN, "it is named")
                print(f"frozen: named after {took:.2f} s: {found.sights.of(NAME).silent}")
                assert found.named() == {names.pod(QUEUE, number): "BrokerSilent"}
                await asyncio.sleep(6)
                assert found.named() == {names.pod(QUEUE, number): "BrokerSilent"}, "the others found new leaders"
            finally:
                run("docker", "unpause", brokers.container(number))
            back = await found.until(lambda: not found.named(), BACK_WITHIN, "it is back")
            print(f"back after {back:.2f} s")
            await found.all_confirm()


async def test_a_broker_that_is_killed_is_named_within_seconds_and_comes_back(brokers: Brokers) -> None:
    try:
        async with probing(brokers) as found:
            await found.all_confirm()
            brokers.kill(2)
            took = await found.until(lambda: bool(found.named()), NAMED_WITHIN, "it is named")
            print(f"killed: named after {took:.2f} s: {found.sights.of(NAME).silent}")
            assert set(found.named()) == {names.pod(QUEUE, 2)}
            brokers.restart(2)
            print(f"back after {await found.until(lambda: not found.named(), BACK_WITHIN, 'it is back'):.2f} s")
    finally:
        brokers.restart(2)
        await whole(brokers)


async def test_when_a_majority_stands_still_the_third_is_named_too(brokers: Brokers) -> None:
    """It takes connections and cannot have a record stored anywhere else."""
    async with probing(brokers) as found:
        await found.all_confirm()
        for number in (0, 1):
            run("docker", "pause", brokers.container(number))
        try:
            took = await found.until(lambda: len(found.named()) == 3, NAMED_WITHIN * 2, "all are named")
            print(f"all named after {took:.2f} s: {found.sights.of(NAME).silent}")
        finally:
            for number in (0, 1):
                run("docker", "unpause", brokers.container(number))
        await found.until(lambda: not found.named(), BACK_WITHIN, "all are back")


@pytest.mark.parametrize("asked", ["first", "last"])
async def test_probers_that_begin_while_a_broker_stands_still_name_no_other(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """Their canaries have to be made first, with a member on the broker that does not answer. Who asks that one last has heard of the others before
    its silence began."""
    silent = 2
    async with probing(brokers) as found:
        await found.all_confirm()  # the users are there
    run("docker", "pause", brokers.container(silent))
    try:
        monkeypatch.setattr(
            brokerfleet, "random", SimpleNamespace(random=lambda: phase(target(brokers, silent), asked))
        )
        async with probing(brokers, looked_after=False) as found:
            took = await found.until(lambda: bool(found.named()), NAMED_WITHIN, "it is named")
            print(f"named {took:.2f} s after the probers began: {found.named()}")
            named: set[str] = set()
            began, confirmed = time.monotonic(), dict[str, float]()
            while time.monotonic() - began < 30:
                named |= set(found.named())
                for each in found.seen:
                    if (each.kind, each.step) == ("Answered", "Publish"):
                        confirmed.setdefault(each.key, each.at - began + took)
                await asyncio.sleep(0.1)
            print(f"first confirms after {confirmed}")
            assert named == {names.pod(QUEUE, silent)}
            assert set(confirmed) == {key(0), key(1)}
    finally:
        run("docker", "unpause", brokers.container(silent))
        await whole(brokers)
