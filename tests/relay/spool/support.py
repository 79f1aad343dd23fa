"""What the spool's tests share: opening a spool, steady traffic, and an independent reader of what is in the queues."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aio_pika

from relayfleet.protocol.relay_config import Broker
from relayfleet.relay.spool.interface import SpoolError, SpoolUnavailable
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.record import Recipient, Record, decode, new_id
from relayfleet.relay.spool.sealer import Sealer
from tests.relay.rabbitmq.cluster import PASSWORD, USERNAME, Cluster

SHORT_LADDER = (1, 3)


def new_prefix() -> str:
    """A pool of its own for each test."""
    return f"test-{os.urandom(5).hex()}"


def new_record(size: int = 2048) -> Record:
    """A record with a message of that many bytes."""
    return Record(new_id(), "a@example.com", (Recipient("b@example.org"),), os.urandom(size // 2).hex().encode())


@asynccontextmanager
async def spool(
    cluster: Cluster,
    prefix: str,
    *,
    broker: Broker | None = None,
    prefetch: int = 200,
    wait: bool = True,
    ca_file: str | None = None,
    password: str = PASSWORD,
    sealer: Sealer | None = None,
    ladder: tuple[int, ...] = SHORT_LADDER,
) -> AsyncIterator[RabbitMQSpool]:
    """A started spool, ready unless `wait` is False."""
    opened = RabbitMQSpool(
        broker or cluster.broker(prefix),
        lambda: (USERNAME, password),
        ca_file or cluster.ca_file,
        prefetch=prefetch,
        name=f"test {prefix}",
        ladder=ladder,
        sealer=sealer,
    )
    opened.start()
    try:
        if wait:
            await both_lanes(opened)
        yield opened
    finally:
        await opened.close()


async def both_lanes(target: RabbitMQSpool) -> None:
    """Wait until both ways into the queue are up."""
    lanes = target._publisher.lanes.values()
    await until(lambda: all(each.is_up for each in lanes), 20, lambda: str([each.why_not for each in lanes]))


async def put_at_last(target: RabbitMQSpool, record: Record) -> None:
    """Put a record, trying again while the queue is away."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return await target.put(record)
        except SpoolUnavailable:
            assert time.monotonic() < deadline, target.why_not_ready
            await asyncio.sleep(0.1)


async def until(condition: Callable[[], bool], seconds: float, why: Callable[[], str] = lambda: "") -> None:
    """Wait for a condition; fails with the words of `why` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {why()}"
        await asyncio.sleep(0.01)


@dataclass
class Traffic:
    """What a steady stream of puts saw: keys confirmed, when, and what failed."""

    confirmed: dict[str, Record] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def longest_pause(self) -> float:
        """Seconds without any confirm."""
        return max((later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)), default=0.0)


async def outlived(seen: Traffic, strike: Callable[[], None], mend: Callable[[], None]) -> None:
    """Traffic flows, something is away for 8 s, and traffic flows again."""
    await until(lambda: len(seen.confirmed) > 300, 20)
    await asyncio.to_thread(strike)
    await asyncio.sleep(8)
    before = len(seen.confirmed)
    await asyncio.to_thread(mend)
    await until(lambda: len(seen.confirmed) > before + 300, 30)


@asynccontextmanager
async def traffic(target: RabbitMQSpool, senders: int = 20, pause: float = 0.01) -> AsyncIterator[Traffic]:
    """Puts from many tasks until the block ends; then waits for those under way."""
    seen = Traffic()
    over = asyncio.Event()

    async def send() -> None:
        while not over.is_set():
            record = new_record()
            try:
                await target.put(record)
            except SpoolError as error:
                seen.failures.append(str(error))
            else:
                seen.confirmed[record.key] = record
                seen.times.append(time.monotonic())
            await asyncio.sleep(pause)

    tasks = [asyncio.create_task(send()) for _ in range(senders)]
    try:
        yield seen
    finally:
        over.set()
        await asyncio.gather(*tasks)


async def read_all(cluster: Cluster, queues: list[str], node: int = 1) -> list[Record]:
    """Empty the queues with an AMQP client that is not ours. A count of 0 is no proof (a broker says so too while it does not know the
    leader), so the last word has a get, which that leader answers."""
    found = []
    async with await _reader(cluster, node) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=500)
        for name in queues:
            while True:
                queue = await channel.declare_queue(name, passive=True, timeout=10)
                if count := queue.declaration_result.message_count:
                    async with queue.iterator(timeout=20) as messages:
                        for _ in range(count):
                            message = await anext(messages)
                            found.append(decode(message.body))
                            await message.ack()
                elif single := await queue.get(fail=False, timeout=20):
                    found.append(decode(single.body))
                    await single.ack()
                else:
                    break
    return found


async def bodies(
    cluster: Cluster, queues: list[str], *, requeue: bool = False
) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """Messages as they are in the queues, which are empty then; with `requeue` they are looked at only."""
    found: list[aio_pika.abc.AbstractIncomingMessage] = []
    async with await _reader(cluster) as connection:
        channel = await connection.channel()
        for name in queues:
            queue = await channel.declare_queue(name, passive=True, timeout=10)
            while (message := await queue.get(fail=False, timeout=20)) is not None:
                found.append(message)
        for message in found:
            await (message.nack(requeue=True) if requeue else message.ack())
    return found


async def _reader(cluster: Cluster, node: int = 1) -> aio_pika.abc.AbstractConnection:
    context = ssl.create_default_context(cafile=cluster.ca_file)
    context.check_hostname = False
    host, _, port = cluster.addresses[node - 1].rpartition(":")
    return await aio_pika.connect(
        host=host, port=int(port), login=USERNAME, password=PASSWORD, ssl=True, ssl_context=context, timeout=10
    )


def ready_queues(prefix: str) -> list[str]:
    """The pool's queues of records to be delivered now."""
    return [f"{prefix}.v1.ready.{lane}" for lane in "ab"]


def by_key(records: Iterable[Record]) -> dict[str, Record]:
    """Records by their keys; fails when one comes twice."""
    listed = list(records)
    found = {each.key: each for each in listed}
    assert len(found) == len(listed), "a record came twice"
    return found
