"""The management client against real brokers that run with the operator's own configuration."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from relayfleet.act.authority import new_authority
from relayfleet.act.broker.errors import BrokerFailed, BrokerRefused, BrokerUnreachable
from relayfleet.act.broker.management import _LISTED, Management
from relayfleet.amqp.errors import AccessRefused, AmqpError
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.children.rabbitmq import names
from relayfleet.controllers import queuebrokers
from relayfleet.controllers.queuememory import QueueMemory
from relayfleet.decide.queue.facts import Brokers as Seen
from relayfleet.decide.queue.facts import Pod, Queue
from tests.relay.broker.cluster import BROKERS, QUEUE, Brokers
from tests.relay.broker.conftest import whole
from tests.testbed.shell import run

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

QUEUE_SETTLES = 5.0
"""Seconds after which a new queue is safe even when all brokers are killed at once. Each broker writes the name of a new queue to its
disk a little later than the records in it; until then it would begin with an empty log. There is nothing to ask whether it did."""

USER, PASSWORD = names.CLIENT_USER, "of the relays"


async def until(question: Callable[[], Awaitable[bool]], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not await question():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.2)


async def provided(management: Management) -> None:
    await management.set_user(USER, PASSWORD)
    await management.allow(USER, names.VHOST)


@contextlib.asynccontextmanager
async def relay(brokers: Brokers, number: int = 0) -> AsyncIterator[PublishChannel]:
    """A relay's channel with confirms, as the user that the operator made."""
    connection = await brokers.log_in(USER, PASSWORD, number)
    try:
        yield await PublishChannel.open(connection, 5)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def dead(brokers: Brokers, *numbers: int) -> AsyncIterator[None]:
    """Brokers are killed, and started again at the end, whatever happens."""
    for each in numbers:
        brokers.kill(each)
    try:
        yield
    finally:
        for each in numbers:
            brokers.restart(each)  # fine for one that runs already
        await whole(brokers)


async def holds(brokers: Brokers, queue: str, records: int, number: int, seconds: float = 30.0) -> None:
    """Wait until a broker says that a queue holds so many records; while a leader is elected it says 0, or nothing."""

    async def counted() -> bool:
        try:
            async with relay(brokers, number) as channel:
                return (await channel.declare(queue, 5, passive=True)).messages == records
        except AmqpError:
            return False

    await until(counted, f"broker {number} serves {records} records of {queue}", seconds)


async def drop(brokers: Brokers, queue: str) -> None:
    """Remove a queue."""
    async with relay(brokers, number=1) as channel:
        await channel.delete(queue, 10)


def pods() -> list[Pod]:
    return [Pod(names.pod(QUEUE, number), names.node(QUEUE, number), ready=True) for number in BROKERS]


async def test_brokers_that_start_at_once_form_one_cluster(brokers: Brokers) -> None:
    async with brokers.management() as management:
        seen = await queuebrokers.read(management)
    assert seen.running == {names.node(QUEUE, number) for number in BROKERS}
    assert seen.version.startswith("4.")
    assert seen.alarms == ()


async def test_nothing_listens_without_tls_but_what_brokers_need_among_themselves(brokers: Brokers) -> None:
    allowed = {names.AMQPS, names.MANAGEMENT, names.EPMD, names.DISTRIBUTION}
    assert brokers.open_ports(0) == allowed


async def test_streams_are_copied_through_the_ports_that_the_network_policy_opens(brokers: Brokers) -> None:
    said = run(
        "docker", "exec", brokers.container(0), "rabbitmqctl", "eval", "application:get_env(osiris, port_range)."
    )
    assert said.strip() == f"{{ok,{{{names.STREAMS[0]},{names.STREAMS[1]}}}}}"


async def test_a_user_is_made_once_and_given_a_new_password_when_it_differs(brokers: Brokers) -> None:
    async with brokers.management() as management:
        await management.set_user(USER, "first")
        await management.allow(USER, names.VHOST)
        assert not await management.set_user(USER, "first"), "it has that password"
        assert not await management.allow(USER, names.VHOST)
        await (await brokers.log_in(USER, "first")).close()
        assert await management.set_user(USER, "second")
    await (await brokers.log_in(USER, "second", number=2)).close()
    with pytest.raises(AccessRefused):
        await brokers.log_in(USER, "first")


async def test_a_user_that_is_deleted_is_out_at_once(brokers: Brokers) -> None:
    async with brokers.management() as management:
        await provided(management)
        async with relay(brokers) as channel:
            await management.delete_user(USER)
            async with asyncio.timeout(10):
                await asyncio.shield(channel.lost)
        await management.delete_user(USER)  # fine when there is none
    with pytest.raises(AccessRefused):
        await brokers.log_in(USER, PASSWORD)


async def test_the_operators_password_is_needed(brokers: Brokers) -> None:
    async with brokers.management(password="wrong") as management:
        with pytest.raises(BrokerRefused):
            await management.version()


async def test_a_certificate_of_another_authority_is_not_trusted(brokers: Brokers) -> None:
    other, _ = new_authority("other", datetime.datetime.now(datetime.UTC))
    async with brokers.management(0, ca=other) as management:
        with pytest.raises(BrokerUnreachable, match="certificate is not one of this queue's"):
            await management.version()


async def test_a_queue_gets_the_members_that_it_lacks(brokers: Brokers) -> None:
    """With records in it: the new member has to catch up, and nothing is lost when the first one dies."""
    memory = QueueMemory()
    endpoints = [brokers.endpoint(number) for number in BROKERS]

    async def grown() -> bool:
        memory.asked_at = float("-inf")
        client = {"username": USER, "password": PASSWORD}
        await queuebrokers.look_after(endpoints, brokers.admin, client, pods(), memory)
        return _queue(memory.brokers, "grows").members == {each.node for each in pods()} and not memory.growing

    async with brokers.management() as management:
        await provided(management)
    async with relay(brokers) as channel:
        await channel.declare("grows", 10, arguments={"x-queue-type": "quorum", "x-quorum-initial-group-size": 1})
        async with asyncio.timeout(20):
            await asyncio.gather(*(channel.publish("grows", b"x" * 2048, str(each)).stored for each in range(200)))
        await until(grown, "a member on each broker")
    async with dead(brokers, 0):
        await holds(brokers, "grows", 200, number=1)
    await drop(brokers, "grows")


async def test_an_empty_queue_is_told_from_one_with_a_record(brokers: Brokers) -> None:
    async with brokers.management() as management:
        await provided(management)
        async with relay(brokers) as channel:
            await channel.declare("mail", 10, arguments={"x-queue-type": "quorum", "x-delivery-limit": -1})
            assert not await management.holds_record("/", "mail")
            assert await queuebrokers.records(management) == 0
            await channel.publish("mail", b"a record", "1").stored
            assert await queuebrokers.records(management) == 1, "although it may not be counted yet"
            for _ in range(3):
                assert await management.holds_record("/", "mail"), "the question takes nothing away"
            await channel.delete("mail", 10)


async def test_the_journals_stream_is_no_mail(brokers: Brokers) -> None:
    async with brokers.management() as management:
        await provided(management)
        async with relay(brokers) as channel:
            await channel.declare("journal", 10, arguments={"x-queue-type": "stream"})
            await channel.publish("journal", b"claim", "1").stored
            assert "stream" in {each["type"] for each in await management.queues()}
            assert await queuebrokers.records(management) == 0
            await channel.delete("journal", 10)


async def test_queues_that_are_listed_without_counts_are_the_same_ones(brokers: Brokers) -> None:
    """What is left when brokers cannot count: without `messages`, and what they say of members that are up is not asked for."""
    async with brokers.management() as management:
        await provided(management)
        async with relay(brokers) as channel:
            await channel.declare("mail", 10, arguments={"x-queue-type": "quorum"})
            await channel.declare("journal", 10, arguments={"x-queue-type": "stream"})
            counted, listed = await management.listing(), await management._list(_LISTED)
            assert not counted.uncounted
            assert not [each for each in listed if "messages" in each]
            about = ("name", "vhost", "type")
            assert sorted(_of(each, about) for each in listed) == sorted(_of(each, about) for each in counted.queues)
            members = {each["name"]: set(each["members"]) for each in listed if each["type"] == "quorum"}
            assert members["mail"] == {each.node for each in pods()}
            await channel.delete("mail", 10)
            await channel.delete("journal", 10)


def _of(queue: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    return [queue[key] for key in keys]


async def test_what_brokers_refuse_is_said_with_their_words(brokers: Brokers) -> None:
    async with brokers.management() as management:
        with pytest.raises(BrokerFailed, match="replicas/add"):
            await management.add_member("/", "no-such-queue", names.node(QUEUE, 0))


async def test_another_broker_answers_when_the_first_is_dead(brokers: Brokers) -> None:
    async with dead(brokers, 1), brokers.management(1, 2, 0) as management:
        assert (await management.version()).startswith("4.")

        async def noticed() -> bool:
            return names.node(QUEUE, 1) not in (await queuebrokers.read(management)).running

        await until(noticed, "the dead broker is not running any more")


async def test_after_all_stopped_any_majority_gets_going_with_the_mail(brokers: Brokers) -> None:
    async with brokers.management() as management:
        await provided(management)
    async with relay(brokers) as channel:
        await channel.declare("survives", 10, arguments={"x-queue-type": "quorum", "x-quorum-initial-group-size": 3})
        await asyncio.sleep(QUEUE_SETTLES)
        async with asyncio.timeout(20):
            await asyncio.gather(*(channel.publish("survives", b"mail", str(each)).stored for each in range(50)))
    endpoints = [brokers.endpoint(number) for number in BROKERS]
    client = {"username": USER, "password": PASSWORD}
    await queuebrokers.look_after(endpoints, brokers.admin, client, pods(), QueueMemory())
    async with dead(brokers, *BROKERS):
        for number in (0, 1):  # 2 stopped last and stays away
            brokers.restart(number)
        await holds(brokers, "survives", 50, number=0, seconds=60)
    await drop(brokers, "survives")


async def test_a_broker_that_lost_its_volume_comes_back_and_catches_up(brokers: Brokers) -> None:
    endpoints = [brokers.endpoint(number) for number in BROKERS]
    client = {"username": USER, "password": PASSWORD}
    await queuebrokers.look_after(endpoints, brokers.admin, client, pods(), QueueMemory())
    async with relay(brokers) as channel:
        await channel.declare("whole", 10, arguments={"x-queue-type": "quorum", "x-quorum-initial-group-size": 3})
        async with asyncio.timeout(20):
            await asyncio.gather(*(channel.publish("whole", b"mail", str(each)).stored for each in range(200)))
    brokers.lose_volume(2)
    await whole(brokers)

    async def complete() -> bool:
        async with brokers.management() as management:
            return len(_queue(await queuebrokers.read(management), "whole").online) == 3

    await until(complete, "the queue has three members that are up", seconds=60)
    async with dead(brokers, 0):
        await holds(brokers, "whole", 200, number=2)
    await drop(brokers, "whole")


async def test_the_largest_record_is_taken(brokers: Brokers) -> None:
    async with brokers.management() as management:
        await provided(management)
    async with relay(brokers) as channel:
        await channel.declare("large", 10, arguments={"x-queue-type": "quorum"})
        async with asyncio.timeout(60):
            await channel.publish("large", bytes(101 * 2**20), "1").stored
        await channel.delete("large", 10)


def _queue(seen: Seen | None, name: str) -> Queue:
    assert seen is not None
    return next(each for each in seen.queues if each.name == name)
