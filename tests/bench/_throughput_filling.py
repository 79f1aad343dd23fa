"""Records put straight into a pool's own queues, past the relay: many are there within a minute."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

from relayfleet.amqp.publishing import PublishChannel
from relayfleet.relay.spool.rabbitmq.topology import Topology
from relayfleet.relay.spool.record import Recipient, Record, encode, new_id
from tests.bench._faults_brokers import CLIENT
from tests.bench._throughput_latency import TEXT
from tests.bench._throughput_relay import Brokers
from tests.bench._throughput_tools import SENDER_DOMAIN

IN_FLIGHT = 300


def queues_of(brokers: Brokers, pool: str) -> Topology:
    """Names of the pool's queues."""
    return Topology(pool, len(brokers.as_told_to_relays().addresses))


async def fill(brokers: Brokers, queues: Sequence[str], count: int, recipient: str, attempt: int = 0) -> float:
    """Let `count` records of 2 KiB for him be in these queues, which exist; `attempt`: how often they were tried before. Seconds that took."""
    began, numbers = time.monotonic(), iter(range(count))
    await asyncio.gather(*(_fill(brokers, each, numbers, recipient, attempt) for each in queues))
    return time.monotonic() - began


async def _fill(brokers: Brokers, queue: str, numbers: Iterator[int], recipient: str, attempt: int) -> None:
    connection = await brokers.log_in(CLIENT["username"], CLIENT["password"])
    try:
        channel = await PublishChannel.open(connection, 5.0)

        async def put() -> None:
            for _ in numbers:
                sender, to = f"from@{SENDER_DOMAIN}", (Recipient(recipient),)
                record = Record(new_id(), sender, to, TEXT, time.time(), attempt=attempt)
                await channel.publish(queue, encode(record), record.key).stored

        await asyncio.gather(*(put() for _ in range(IN_FLIGHT)))
    finally:
        await connection.close()
