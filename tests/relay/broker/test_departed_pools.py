"""Queues of a pool that is gone, at real brokers: declared by relays' own code, removed by the operator's, and declared anew by the next relays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from relayfleet.act.broker.errors import BrokerError
from relayfleet.act.broker.management import EVERYTHING, Management
from relayfleet.amqp.errors import AmqpError
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.children.rabbitmq import names
from relayfleet.children.relay.config import queue_space
from relayfleet.controllers import queuebrokers, queuesweep, relayusers
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuebrokers import CANARIES, prober_password
from relayfleet.controllers.queuememory import of
from relayfleet.controllers.relayuserhand import Way
from relayfleet.decide.queue.sweep import APART, GONE, SETTLING, pool_of, pools_of
from relayfleet.protocol import brokeruser
from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.rabbitmq import RabbitMQJournal, RabbitMQSpool
from relayfleet.relay.spool.record import Recipient, Record, new_id
from tests.fakes.kube import FakeKube
from tests.relay.broker.cluster import BROKERS, QUEUE, Brokers
from tests.unit.children.scene import queue
from tests.unit.controllers import scene

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

SEED = "the password that relays share"
SPACE = queue_space("mail", "eu")
RELAY = "gone-relay-1"
USER = (brokeruser.username(RELAY), brokeruser.password(RELAY, SEED))


async def until(question: Callable[[], Awaitable[object]], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    seen: object = None
    while not seen:
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        try:
            seen = await question()
        except (AmqpError, BrokerError):
            seen = None
        await asyncio.sleep(0.2)


@pytest.fixture
async def management(brokers: Brokers) -> AsyncIterator[Management]:
    """A client for brokers without queues, and with no users but those that an operator makes."""
    brokers.clear()
    async with brokers.management() as made:
        for user in await made.users():
            if user != names.ADMIN_USER:
                await made.delete_user(user)
        await made.set_user(names.PROBER_USER, prober_password(brokers.admin))
        await made.allow(names.PROBER_USER, names.VHOST, CANARIES)
        await made.put_user(names.CLIENT_USER, SEED, names.VHOST)
        yield made
    brokers.clear()


@asynccontextmanager
async def relay(brokers: Brokers, management: Management) -> AsyncIterator[RabbitMQSpool]:
    """A relay of pool `gone` with all its queues; its user goes with it."""
    await management.put_user(*USER, names.VHOST)
    addresses = tuple(f"{brokers.address(each)}:{names.AMQPS}" for each in BROKERS)
    target = Broker(addresses, server_name=names.certificate_hosts(QUEUE)[0], queue_prefix=f"{SPACE}gone")
    authority = str(brokers.folder / "tls" / "ca.crt")
    spool = RabbitMQSpool(target, lambda: USER, authority, name=RELAY)
    journal = RabbitMQJournal(target, lambda: USER, authority, name=RELAY)
    spool.start()
    journal.start()

    async def up() -> bool:
        return all(each.is_up for each in spool._publisher.lanes.values()) and not journal.why_not

    try:
        await until(up, "the relay has its queues", 60)
        yield spool
    finally:
        await asyncio.gather(spool.close(), journal.close())
        await management.delete_user(USER[0])


class Operator:
    """The sweep of these brokers, with pools that are gone for as long as a test says."""

    def __init__(self, brokers: Brokers, management: Management, monkeypatch: pytest.MonkeyPatch) -> None:
        self.management = management
        self.context: Context = scene.context(FakeKube(queue()[0]))
        self.way = Way(True, tuple(brokers.endpoint(each) for each in BROKERS), brokers.admin, SEED)
        self.sweep = of(self.context.memory, "mail", "mail").sweep
        monkeypatch.setattr(relayusers, "read_way", self._way)

    async def _way(self, context: Context, name: tuple[str, str]) -> Way:
        return self.way

    async def look(self, after: float) -> None:
        """A look that is so many seconds after the last one, by the operator's clock; the brokers' goes as it does."""
        for times in (self.sweep.watch.gone, self.sweep.watch.empty):
            times.update({each: since - after for each, since in times.items()})
        self.sweep.look_at -= after
        memory = of(self.context.memory, "mail", "mail")
        memory.brokers = await queuebrokers.read(self.management)
        await queuesweep.reconcile(self.context, "mail", "mail")

    async def locked(self) -> None:
        """Until the shared user is away: what the brokers count may be seconds old."""
        await self.look(0)
        await self.look(GONE)

        async def is_locked() -> bool:
            await self.look(APART)
            return self.sweep.locked is not None

        await until(is_locked, f"the lock; {self.sweep.said}")

    async def left(self) -> list[str]:
        """The pool's queues."""
        return [each["name"] for each in await self.management.queues() if pool_of(each["name"], SPACE) == "gone"]


@pytest.fixture
def operator(brokers: Brokers, management: Management, monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(brokers, management, monkeypatch)


async def test_all_queues_of_a_pool_that_is_gone_go_and_the_next_relays_make_them_anew(
    brokers: Brokers, management: Management, operator: Operator
) -> None:
    async with relay(brokers, management):
        before = await operator.left()
        assert len(before) == 28
    connection = await brokers.log_in(names.CLIENT_USER, SEED)
    channel = await PublishChannel.open(connection, 5)
    await channel.declare("somebodys", 10, arguments={"x-queue-type": "quorum"})
    await connection.close()
    await operator.locked()
    assert names.CLIENT_USER not in await management.users()
    assert sorted(await operator.left()) == sorted(before), "not before the last look"
    began = time.monotonic()
    await asyncio.sleep(
        SETTLING
    )  # what the brokers count has to be of the time after the lock: there is no event for that
    await operator.look(0.1)
    print(f"{len(before)} queues removed within {time.monotonic() - began - SETTLING:.1f} s")
    assert await operator.left() == [], operator.sweep
    assert [each["name"] for each in await management.queues()] == ["somebodys"]
    async with relay(brokers, management) as spool:
        await spool.put(Record(new_id(), "a@example.com", (Recipient("b@example.org"),), b"anew"))
        assert len(await operator.left()) == 28


async def test_a_record_in_any_queue_keeps_them_all(
    brokers: Brokers, management: Management, operator: Operator
) -> None:
    async with relay(brokers, management):
        connection = await brokers.log_in(*USER)
        channel = await PublishChannel.open(connection, 5)
        await channel.publish(f"{SPACE}gone.v1.quarantine", b"for a human", "1").stored
        await connection.close()
    await operator.look(0)
    await operator.look(GONE)
    for _ in range(8):
        await operator.look(APART)
        await asyncio.sleep(1.0)  # a count that says 0 may be five seconds old
    await asyncio.sleep(SETTLING if operator.sweep.locked else 0.0)
    await operator.look(APART)
    assert len(await operator.left()) == 28


async def test_who_is_logged_in_is_known_this_moment_and_of_a_user_that_is_gone_too(
    brokers: Brokers, management: Management
) -> None:
    await management.put_user(*USER, names.VHOST)
    opened = [await brokers.log_in(*USER, number) for number in BROKERS]
    assert USER[0] in await management.connected()
    assert (await management.permissions(names.VHOST))[USER[0]] == EVERYTHING
    await management.delete_user(USER[0])
    assert USER[0] not in await management.permissions(names.VHOST)
    await asyncio.wait([each.lost for each in opened], timeout=10)

    async def out() -> bool:
        return USER[0] not in await management.connected()

    await until(out, "nobody is logged in as that user")


async def test_consumers_are_known_after_some_seconds(brokers: Brokers, management: Management) -> None:
    async with relay(brokers, management) as spool:
        taking = asyncio.create_task(spool.take())

        async def both() -> bool:
            return {f"{SPACE}gone.v1.ready.a", f"{SPACE}gone.v1.ready.b"} <= await management.consumed(names.VHOST)

        await until(both, "the ready queues are consumed")
        assert pools_of(await management.consumed(names.VHOST), SPACE) == {"gone"}
        taking.cancel()


async def test_these_brokers_do_not_remove_a_quorum_queue_only_if_it_is_empty(
    brokers: Brokers, management: Management
) -> None:
    """When this fails, they do, and `delete_queue` should ask for it."""
    async with relay(brokers, management):
        with pytest.raises(BrokerError):
            await management._call("DELETE", f"queues/%2F/{SPACE}gone.v1.ready.a?if-empty=true")
