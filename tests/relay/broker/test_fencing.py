"""A relay that froze is cut off at real brokers: others get its records at once, and thawed it has no say in them any more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from relayfleet.act.broker.errors import BrokerError
from relayfleet.act.broker.management import Endpoint, Management
from relayfleet.amqp.errors import AccessRefused
from relayfleet.api.labels import POOL
from relayfleet.children.rabbitmq import names
from relayfleet.controllers.relayuserhand import Hand, Memory
from relayfleet.protocol import brokeruser
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.rabbitmq import RabbitMQJournal, RabbitMQSpool, link
from relayfleet.relay.spool.record import Recipient, Record, new_id
from tests.fakes.kube import FakeKube
from tests.relay.broker.cluster import BROKERS, QUEUE, Brokers
from tests.relay.spool.support import until
from tests.testbed.settings import ROOT
from tests.unit.controllers.scene import context

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SEED = "the password that relays share"
HELD = 200
WITHIN = 6.0
"""Seconds from a fence until others have all records that the relay held: tenths of a second on cores that have nothing else to do (it is printed). Without
one they come when the heartbeat is missed and the TLS session closed (`amqp.dial.HEARTBEAT`), nine seconds after the freeze at the soonest."""


@pytest.fixture(scope="module", autouse=True)
def left_as_found(_brokers: Brokers) -> Iterator[None]:
    """These tests leave queues with records in them."""
    yield
    _brokers.clear()


def target(brokers: Brokers, prefix: str) -> Broker:
    addresses = tuple(f"{brokers.address(each)}:{names.AMQPS}" for each in BROKERS)
    return Broker(addresses, server_name=names.certificate_hosts(QUEUE)[0], queue_prefix=prefix)


def pod(relay: str) -> dict[str, object]:
    about = {"namespace": "mail", "name": relay, "uid": f"uid-of-{relay}", "labels": {POOL: "tx"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about}


@asynccontextmanager
async def hand(brokers: Brokers) -> AsyncIterator[Hand]:
    """What the operator does at these brokers."""
    async with brokers.management() as management:
        yield Hand(context(FakeKube()), management, SEED, Memory())


@asynccontextmanager
async def other_relay(brokers: Brokers, relay: str, prefix: str) -> AsyncIterator[RabbitMQSpool]:
    user = (brokeruser.username(relay), brokeruser.password(relay, SEED))
    spool = RabbitMQSpool(target(brokers, prefix), lambda: user, str(brokers.folder / "tls" / "ca.crt"), name=relay)
    spool.start()
    try:
        lanes = spool._publisher.lanes.values()
        await until(lambda: all(each.is_up for each in lanes), 30, lambda: str([each.why_not for each in lanes]))
        yield spool
    finally:
        await spool.close()


@dataclass
class Frozen:
    """The relay that will freeze. `says` waits for its next line."""

    process: asyncio.subprocess.Process

    async def says(self, seconds: float = 30.0) -> list[str]:
        assert self.process.stdout
        async with asyncio.timeout(seconds):
            return (await self.process.stdout.readline()).decode().split()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It tries everything at once."""
        assert self.process.stdin
        self.process.stdin.write(b"late\n")
        self.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def relay_to_freeze(brokers: Brokers, relay: str, prefix: str, hold: int) -> AsyncIterator[Frozen]:
    told = target(brokers, prefix)
    words = {
        "relay": relay,
        "seed": SEED,
        "prefix": prefix,
        "hold": hold,
        "addresses": told.addresses,
        "server_name": told.server_name,
        "ca_file": str(brokers.folder / "tls" / "ca.crt"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.relay.broker.frozen_relay", json.dumps(words),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"},
    )  # fmt: skip
    try:
        yield Frozen(process)
    finally:
        process.kill()
        await process.wait()


def record(size: int) -> Record:
    return Record(new_id(), "a@example.com", (Recipient("b@example.org"),), os.urandom(size // 2).hex().encode())


async def take_all(spool: RabbitMQSpool, count: int, times: dict[str, float]) -> None:
    """Take and let go of that many; when each came, by key."""
    while len(times) < count:
        held = await spool.take()
        assert held.record.key not in times, "it came twice"
        times[held.record.key] = time.monotonic()
        await held.settle()


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(2048, id="small ones"),
        pytest.param(100_000, id="large ones"),
    ],
)
async def test_a_frozen_relays_records_go_to_others_and_thawed_it_can_neither_acknowledge_nor_publish(
    brokers: Brokers, size: int
) -> None:
    prefix = f"test-{os.urandom(5).hex()}"
    records = [record(size) for _ in range(HELD)]
    async with hand(brokers) as at_brokers:
        await at_brokers.grant([pod("good"), pod("bad")])
        async with other_relay(brokers, "good", prefix) as good:
            for first in range(0, HELD, 8):
                await asyncio.gather(*map(good.put, records[first : first + 8]))
            async with relay_to_freeze(brokers, "bad", prefix, HELD) as bad:
                assert await bad.says() == ["holding", str(HELD)]
                bad.freeze()
                times: dict[str, float] = {}
                taking = asyncio.create_task(take_all(good, HELD, times))
                await asyncio.sleep(1.0)
                assert not times, "what the frozen one holds came to another one without a fence"
                began = time.monotonic()
                await at_brokers.fence(pod("bad"))
                done = time.monotonic() - began
                async with asyncio.timeout(30):
                    await taking
                came = sorted(at - began for at in times.values())
                print(f"{HELD} records of {size} bytes: first after {came[0]:.3f} s, last after {came[-1]:.3f} s")
                print(f"the fence itself took {done:.3f} s")
                assert came[-1] < WITHIN
                bad.thaw()
                assert await bad.says() == ["acked", str(HELD)]
                assert await bad.says() == ["unstored"]
                extra = asyncio.create_task(good.take())
                await asyncio.sleep(2.0)
                assert not extra.done(), "something was published by the relay that is cut off"
                began = time.monotonic()
                await at_brokers.grant([pod("bad")])
                word, _ = await bad.says()
                assert (word, await bad.says()) == ("back", ["stored"])
                print(f"logs in again {time.monotonic() - began:.3f} s after its user is back")
                held = await extra
                assert held.record.sender == "late@example.com"
                await held.settle()
    assert set(times) == {each.key for each in records}


async def test_a_relay_without_a_user_connects_within_a_second_of_its_coming(
    brokers: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the pace of one that cannot be reached it would be ten seconds until the next try, at the soonest.
    monkeypatch.setattr(link, "_FIRST_PAUSE", 20.0)
    monkeypatch.setattr(link, "_LONGEST_PAUSE", 20.0)
    prefix = f"test-{os.urandom(5).hex()}"
    user = (brokeruser.username("new"), brokeruser.password("new", SEED))
    spool = RabbitMQSpool(target(brokers, prefix), lambda: user, str(brokers.folder / "tls" / "ca.crt"), name="new")
    spool.start()
    try:
        await asyncio.sleep(6.0)
        assert not spool.ready
        assert "refuses user" in spool.why_not_ready
        async with hand(brokers) as at_brokers:
            await at_brokers.grant([pod("new")])
        began = time.monotonic()
        lanes = spool._publisher.lanes.values()
        await until(lambda: any(each.link.connection for each in lanes), 20, lambda: spool.why_not_ready)
        connected = time.monotonic() - began
        await until(lambda: spool.ready, 60, lambda: spool.why_not_ready)
        print(f"connected after {connected:.2f} s, its new queues made after {time.monotonic() - began:.2f} s")
        assert connected < 9.0, "not in the pace of one that cannot be reached"
    finally:
        await spool.close()


async def test_connections_of_this_moment_are_closed_at_whichever_broker_they_are(brokers: Brokers) -> None:
    """The list in the statistics lags behind by seconds; what is closed must not come from it."""
    async with hand(brokers) as at_brokers:
        await at_brokers.grant([pod("quick")])
        assert (await at_brokers.users())["quick"]
        user = (brokeruser.username("quick"), brokeruser.password("quick", SEED))
        opened = [await brokers.log_in(*user, number) for number in BROKERS]
        began = time.monotonic()
        await at_brokers.fence(pod("quick"))
        await asyncio.wait([each.lost for each in opened], timeout=5)
        print(f"three idle connections at three brokers closed after {time.monotonic() - began:.3f} s")
        assert not any(each.is_open for each in opened)
        assert at_brokers.memory.cut == {"quick"}
        with pytest.raises(AccessRefused):
            await brokers.log_in(*user, 2)
        assert "quick" not in await at_brokers.users()


async def test_a_user_with_another_password_or_without_rights_counts_as_not_right(brokers: Brokers) -> None:
    async with hand(brokers) as at_brokers, brokers.management() as management:
        await management.put_user(brokeruser.username("odd"), "another one", names.VHOST)
        await management.set_user(brokeruser.username("bare"), brokeruser.password("bare", SEED))
        users = await at_brokers.users()
        assert (users["odd"], users["bare"]) == (False, False)
        await at_brokers.grant([pod("odd"), pod("bare")])
        users = await at_brokers.users()
        assert (users["odd"], users["bare"]) == (True, True)
        for each in ("odd", "bare"):
            assert await at_brokers.remove(each)
            assert not await at_brokers.remove(each)


async def test_a_relays_journal_works_with_the_relays_own_user(brokers: Brokers) -> None:
    prefix = f"test-{os.urandom(5).hex()}"
    user = (brokeruser.username("writer"), brokeruser.password("writer", SEED))
    journal = RabbitMQJournal(
        target(brokers, prefix), lambda: user, str(brokers.folder / "tls" / "ca.crt"), name="writer"
    )
    async with hand(brokers) as at_brokers, other_relay_granted(at_brokers, brokers, "writer", prefix) as spool:
        journal.start()
        try:
            await spool.put(record(2048))
            held = await spool.take()
            async with asyncio.timeout(30):
                assert not (await journal.seen(held.record)).delivered
                await journal.outcome(held, ["b@example.org"], True, "250 ok")
                await held.settle()
        finally:
            await journal.close()


@asynccontextmanager
async def other_relay_granted(
    at_brokers: Hand, brokers: Brokers, relay: str, prefix: str
) -> AsyncIterator[RabbitMQSpool]:
    await at_brokers.grant([pod(relay)])
    async with other_relay(brokers, relay, prefix) as spool:
        yield spool


async def test_a_management_interface_that_does_not_answer_is_given_up_in_time(brokers: Brokers) -> None:
    nobody = [Endpoint("198.19.201.250", "nobody", 15671), Endpoint("198.19.201.251", "nobody", 15671)]
    began = time.monotonic()
    async with Management(nobody, "x", "y", brokers.admin["ca.crt"], 1.0) as management:
        with pytest.raises(BrokerError):
            await management.users()
    assert time.monotonic() - began < 10.0
