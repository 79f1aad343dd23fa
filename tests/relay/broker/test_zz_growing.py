"""A larger cluster. The last test at these brokers, by its name, since they stay more than three."""

from __future__ import annotations

import pytest

from relayfleet.amqp.errors import AmqpError
from relayfleet.children.rabbitmq import names
from relayfleet.controllers import queuebrokers
from relayfleet.controllers.queuememory import QueueMemory
from tests.relay.broker.cluster import BROKERS, QUEUE, Brokers
from tests.relay.broker.test_management import PASSWORD, USER, pods, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


async def test_a_broker_that_comes_later_joins_and_serves(brokers: Brokers) -> None:
    endpoints = [brokers.endpoint(number) for number in BROKERS]
    client = {"username": USER, "password": PASSWORD}
    await queuebrokers.look_after(endpoints, brokers.admin, client, pods(), QueueMemory())
    brokers.grow(3)

    async def joined() -> bool:
        async with brokers.management() as management:
            return names.node(QUEUE, 3) in (await queuebrokers.read(management)).running

    await until(joined, "a fourth broker runs", seconds=90)

    async def serves() -> bool:
        try:
            await (await brokers.log_in(USER, PASSWORD, number=3)).close()
        except AmqpError:
            return False
        return True

    await until(serves, "and knows the relays' user", seconds=60)
