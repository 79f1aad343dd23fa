"""How many records a second the queue confirms: our spool beside aio-pika, on the same three brokers, in turn, over TLS.

Both publish persistent, mandatory records of 2 KiB into a quorum queue with three members, led by the node they are connected to, and
wait for each confirm. Ours does everything that a relay's `put` does (encoding, quota, deadline, hedging). Brokers and client share the
machine's cores, so the processor time of the client is given as well.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika

from relayfleet.relay.spool.interface import SpoolError
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.record import Recipient, Record, encode, new_id
from tests.relay.rabbitmq.cluster import PASSWORD, USERNAME, Cluster

SIZE = 2048
ROUNDS = 3
COUNTS = {1: 500, 100: 5_000, 500: 10_000}
"""Records a round, by how many are in flight."""

Put = Callable[[Record], Awaitable[object]]


@dataclass(frozen=True)
class Round:
    """Confirms a second, milliseconds of the client's processor for each, and the 99th percentile of their wait in ms."""

    rate: float
    cpu: float
    p99: float


async def run() -> list[dict[str, Any]]:
    """Rows of the benchmark."""
    cluster = Cluster()
    await asyncio.to_thread(cluster.start)
    try:
        await cluster.healthy()
        async with _ours(cluster) as ours, _aio_pika(cluster) as theirs:
            return [row for in_flight in COUNTS for row in await _compare(in_flight, ours, theirs)]
    finally:
        await asyncio.to_thread(cluster.stop)


async def _compare(in_flight: int, ours: Put, theirs: Put) -> list[dict[str, Any]]:
    rounds = [(await _round(in_flight, ours), await _round(in_flight, theirs)) for _ in range(ROUNDS)]
    detail = {"rounds": [{"ours": vars(one), "peer": vars(other)} for one, other in rounds], "size": SIZE}
    rows = []
    for metric, unit in (("rate", "records/s"), ("cpu", "ms/record"), ("p99", "ms")):
        value, peer = (statistics.median(getattr(each, metric) for each in side) for side in zip(*rounds, strict=True))
        rows.append(
            {
                "name": f"spool.confirms.{metric}.{in_flight}",
                "value": round(value, 3),
                "unit": unit,
                "peer": "aio-pika",
                "peer_value": round(peer, 3),
                "n": COUNTS[in_flight] * ROUNDS,
                "detail": detail,
            }
        )
    return rows


async def _round(in_flight: int, put: Put) -> Round:
    waits: list[float] = []
    records = iter([_record() for _ in range(COUNTS[in_flight])])

    async def send() -> None:
        for record in records:
            began = time.perf_counter()
            await put(record)
            waits.append(time.perf_counter() - began)

    began, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(send() for _ in range(in_flight)))
    took, worked = time.perf_counter() - began, time.process_time() - worked
    p99 = statistics.quantiles(waits, n=100)[98]
    return Round(len(waits) / took, worked / len(waits) * 1000, p99 * 1000)


def _record() -> Record:
    return Record(new_id(), "a@example.com", (Recipient("b@example.org"),), b"x" * SIZE, accepted_at=time.time())


@asynccontextmanager
async def _ours(cluster: Cluster) -> AsyncIterator[Put]:
    broker = cluster.broker(f"bench-{os.urandom(4).hex()}", publish_timeout=30)
    spool = RabbitMQSpool(broker, lambda: (USERNAME, PASSWORD), cluster.ca_file)
    spool.start()
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    await spool.put(_record())
                    break
                except SpoolError:
                    await asyncio.sleep(0.2)
        yield spool.put
    finally:
        await spool.close()


@asynccontextmanager
async def _aio_pika(cluster: Cluster) -> AsyncIterator[Put]:
    context = ssl.create_default_context(cafile=cluster.ca_file)
    context.check_hostname = False
    host, _, port = cluster.addresses[0].rpartition(":")
    connection = await aio_pika.connect(
        host=host, port=int(port), login=USERNAME, password=PASSWORD, ssl=True, ssl_context=context
    )
    name = f"bench-peer-{os.urandom(4).hex()}"
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue(
            name, durable=True, arguments={"x-queue-type": "quorum", "x-quorum-initial-group-size": 3}
        )

        async def put(record: Record) -> None:
            message = aio_pika.Message(encode(record), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            await channel.default_exchange.publish(message, name, mandatory=True)

        yield put
