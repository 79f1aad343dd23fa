"""Sealed records at real brokers: nothing of them is in the clear there, they come out whole, and those without a key wait."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path

import aio_pika
import pytest

from relayfleet.amqp.dial import Address, Login, connect, tls_context
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.protocol.sealing import QUARANTINE, Key, dump
from relayfleet.relay.spool import seal
from relayfleet.relay.spool.interface import Successor
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq import spool as rabbit
from relayfleet.relay.spool.record import Record, decode, encode
from relayfleet.relay.spool.sealer import Sealer
from tests.relay.rabbitmq.cluster import PASSWORD, SERVER_NAME, USERNAME, Cluster
from tests.relay.spool.support import bodies, new_prefix, new_record, ready_queues, spool

pytestmark = pytest.mark.broker

OLD, NEW = Key("1" * 16, b"1" * 32, 1, 1), Key("2" * 16, b"2" * 32, 2, 2)


def sealer(folder: Path, prefix: str, *keys: Key, seals: bool = True) -> Sealer:
    """A relay's own, with these keys mounted."""
    folder.mkdir(exist_ok=True)
    (folder / "keys.json").write_text(dump(keys))
    return Sealer(folder / "keys.json", prefix, seals=seals)


async def taken(queue: RabbitMQSpool, seconds: float = 15) -> Record:
    """The next record, which is then done with."""
    async with asyncio.timeout(seconds):
        held = await queue.take()
    await held.settle()
    return held.record


async def publish(cluster: Cluster, queue: str, body: bytes, message_id: str) -> None:
    """Put bytes into a queue, past the spool."""
    tls, login = tls_context(cluster.ca_file), Login(USERNAME, PASSWORD)
    connection = await connect(Address.parse(cluster.addresses[0]), login, 5, tls=tls, server_name=SERVER_NAME)
    channel = await PublishChannel.open(connection, 5)
    await channel.publish(queue, body, message_id).stored
    await connection.close()


async def test_what_rests_at_the_broker_is_sealed_and_comes_out_whole_after_a_wait(
    rabbitmq: Cluster, tmp_path: Path
) -> None:
    prefix, record = new_prefix(), new_record()
    async with spool(rabbitmq, prefix, sealer=sealer(tmp_path, prefix, OLD)) as queue:
        await queue.put(record)
        (message,) = await bodies(rabbitmq, ready_queues(prefix))
        assert seal.key_of(message.body) == OLD.id
        assert record.message not in message.body
        assert b"example" not in message.body
        await publish(rabbitmq, ready_queues(prefix)[0], message.body, record.key)
        async with asyncio.timeout(15):
            held = await queue.take()
        later = dataclasses.replace(held.record, attempt=1)
        await held.settle([Successor(later, delay=1)])
        assert await taken(queue) == later  # through a queue whose dead letters the broker moves


async def test_relays_that_seal_and_relays_that_do_not_yet_share_a_pool(rabbitmq: Cluster, tmp_path: Path) -> None:
    prefix, records = new_prefix(), [new_record() for _ in range(4)]
    early = sealer(tmp_path / "early", prefix, OLD, seals=False)
    late = sealer(tmp_path / "late", prefix, OLD, NEW)
    async with spool(rabbitmq, prefix, sealer=early) as one, spool(rabbitmq, prefix, sealer=late) as other:
        await one.put(records[0])
        (tmp_path / "early" / "keys.json").write_text(dump([OLD, NEW]))
        for each in records[1:]:
            await other.put(each)
        assert {(await taken(one)).key for _ in records} == {each.key for each in records}


async def test_a_record_whose_key_is_missing_waits_and_is_taken_when_the_key_comes_back(
    rabbitmq: Cluster, tmp_path: Path
) -> None:
    prefix, lost, other = new_prefix(), new_record(), new_record()
    async with spool(rabbitmq, prefix, sealer=sealer(tmp_path / "had", prefix, NEW)) as queue:
        await queue.put(lost)
    lacks = sealer(tmp_path / "lacks", prefix, OLD)
    async with spool(rabbitmq, prefix, sealer=lacks) as queue:
        await queue.put(other)
        assert await taken(queue) == other
        deadline = time.monotonic() + 15
        while not lacks.counts["KeyMissing"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert NEW.id in lacks.trouble
        (tmp_path / "lacks" / "keys.json").write_text(dump([OLD, NEW]))
        assert await taken(queue) == lost
    assert await bodies(rabbitmq, [f"{prefix}.v1.quarantine"]) == []


async def test_a_record_under_anothers_name_goes_to_quarantine_and_expires_there(
    rabbitmq: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix, moved, good = new_prefix(), new_record(), new_record()
    made = sealer(tmp_path, prefix, OLD)
    async with spool(rabbitmq, prefix, sealer=made) as queue:
        await publish(rabbitmq, ready_queues(prefix)[0], made.seal(moved), good.key)
        await queue.put(good)
        assert await taken(queue) == good
        (message,) = await settled_bodies(rabbitmq, f"{prefix}.v1.quarantine")
        assert message.message_id == good.key
        # In milliseconds on the wire, in seconds for that client.
        assert message.expiration == QUARANTINE
        monkeypatch.setattr(rabbit, "QUARANTINE", 1.0)
        await publish(rabbitmq, ready_queues(prefix)[0], b"no record", "x")
        await queue.put(new_record())
        await taken(queue)
        assert len(await settled_bodies(rabbitmq, f"{prefix}.v1.quarantine", requeue=True)) == 1
        deadline = time.monotonic() + 20
        while await bodies(rabbitmq, [f"{prefix}.v1.quarantine"], requeue=True):
            assert time.monotonic() < deadline, "it did not expire"
            await asyncio.sleep(0.5)


async def test_records_of_before_come_out_of_a_pool_that_seals(rabbitmq: Cluster, tmp_path: Path) -> None:
    prefix, record = new_prefix(), new_record()
    async with spool(rabbitmq, prefix, sealer=sealer(tmp_path, prefix, OLD)) as queue:
        await publish(rabbitmq, ready_queues(prefix)[1], encode(record), record.key)
        assert await taken(queue) == record
    assert decode(encode(record)) == record


async def settled_bodies(
    cluster: Cluster, queue: str, *, requeue: bool = False
) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """What is in a queue, as soon as something is: it is moved there in the background."""
    deadline = time.monotonic() + 15
    while not (found := await bodies(cluster, [queue], requeue=requeue)):
        assert time.monotonic() < deadline, f"nothing came to {queue}"
        await asyncio.sleep(0.1)
    return found
