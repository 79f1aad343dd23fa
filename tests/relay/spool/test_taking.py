"""Records come out, are settled once, come back when their time has come, and go to others when a relay dies."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time

import pytest

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.dial import Address, Login, connect, tls_context
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.relay.spool.interface import SpoolUnavailable, Successor
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.record import Record, encode
from tests.relay.rabbitmq.cluster import PASSWORD, SERVER_NAME, USERNAME, Cluster
from tests.relay.spool.support import SHORT_LADDER, by_key, new_prefix, new_record, read_all, ready_queues, spool, until

pytestmark = pytest.mark.broker


def following(record: Record) -> Record:
    return dataclasses.replace(record, attempt=record.attempt + 1)


async def publish_raw(cluster: Cluster, queue: str, body: bytes) -> None:
    """Put bytes into a queue, past the spool."""
    connection = await connect(
        Address.parse(cluster.addresses[0]),
        Login(USERNAME, PASSWORD),
        5,
        tls=tls_context(cluster.ca_file),
        server_name=SERVER_NAME,
    )
    channel = await PublishChannel.open(connection, 5)
    await channel.publish(queue, body, "raw").stored
    await connection.close()


async def consuming(queue: RabbitMQSpool) -> None:
    """Wait until both lanes are taken from; the first record may come before the other lane is connected."""
    await until(lambda: all(each.connection for each in queue._consumer._links.values()), 10)


def cut(queue: RabbitMQSpool) -> None:
    """Break the consuming connections, as a network does."""
    for link in queue._consumer._links.values():
        assert link.connection is not None
        assert link.connection._transport is not None
        link.connection._transport.abort()


def freeze(connection: Connection) -> None:
    """As a process that was stopped: the kernel still takes what comes, and nobody reads or writes."""
    connection.pause_reading()
    assert connection._beat is not None
    connection._beat.cancel()


GIVEN_UP = 15.0
"""Seconds until the records of a relay that froze are with another one, without a fence: RabbitMQ misses its heartbeat after two to three intervals of two
seconds, and closes its TLS session for five more (`amqp.dial.HEARTBEAT`), so 9 to 11; four more for busy cores."""


async def test_records_of_a_relay_that_froze_are_with_another_when_it_has_missed_its_heartbeat(
    rabbitmq: Cluster,
) -> None:
    prefix = new_prefix()
    records = [new_record() for _ in range(20)]
    async with spool(rabbitmq, prefix) as frozen, spool(rabbitmq, prefix) as other:
        await asyncio.gather(*map(frozen.put, records))
        held = [await frozen.take() for _ in records]
        await consuming(frozen)
        for link in frozen._consumer._links.values():
            assert link.connection is not None
            freeze(link.connection)
        began = time.monotonic()
        taken = [await other.take() for _ in records]
        took = time.monotonic() - began
        assert {each.record.key for each in taken} == {each.record.key for each in held}
        assert took < GIVEN_UP, took
        await asyncio.gather(*(each.settle() for each in taken))


async def test_what_was_put_is_taken_and_gone_when_settled(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    records = [new_record() for _ in range(1000)]
    taken = []
    async with spool(rabbitmq, prefix, prefetch=50) as queue:
        await asyncio.gather(*map(queue.put, records))
        for _ in records:
            held = await queue.take()
            assert not held.redelivered
            assert held.deliveries == 1
            taken.append(held.record)
            await held.settle()
        await rabbitmq.emptied(prefix)
    assert by_key(taken) == by_key(records)


async def test_a_successor_comes_back_after_its_step_and_not_before(rabbitmq: Cluster) -> None:
    """Which step it was shows in the soonest of a few: each waits for its step at least, and busy cores only make it later."""
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        for delay, at_most, times in ((0.0, SHORT_LADDER[0], 5), (0.8, SHORT_LADDER[1], 2), (2.5, 20.0, 1)):
            soonest = math.inf
            for _ in range(times):
                await queue.put(new_record())
                held = await queue.take()
                began = time.monotonic()  # its time begins within the next call, not after it
                await held.settle([Successor(following(held.record), delay=delay)])
                back = await queue.take()
                waited = time.monotonic() - began
                print(f"asked for {delay} s, back after {waited:.2f} s")
                assert back.record == following(held.record)
                assert waited >= delay
                assert not back.redelivered
                await back.settle()
                soonest = min(soonest, waited)
            assert soonest < at_most


async def test_a_record_settled_into_quarantine_stays_there(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        await queue.put(new_record())
        held = await queue.take()
        await held.settle([Successor(following(held.record), quarantine=True)])
    assert await read_all(rabbitmq, ready_queues(prefix)) == []
    assert await read_all(rabbitmq, [f"{prefix}.v1.quarantine"]) == [following(held.record)]


async def test_bytes_that_are_no_record_go_to_quarantine_and_hold_up_nothing(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        await publish_raw(rabbitmq, f"{prefix}.v1.ready.a", b"RFR1 but then nonsense")
        record = new_record()
        await queue.put(record)
        held = await queue.take()
        assert held.record == record
        await held.settle()
        async with spool(rabbitmq, prefix) as other:
            waiting = asyncio.create_task(other.take())
            counts = queue._watermark.counts
            await until(lambda: counts.get(f"{prefix}.v1.quarantine") == 1, 10, lambda: str(counts))
            assert not waiting.done()
            waiting.cancel()


async def test_the_records_of_a_relay_that_dies_go_to_another_marked_as_redelivered(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    records = [new_record() for _ in range(100)]
    async with spool(rabbitmq, prefix) as survivor:
        async with spool(rabbitmq, prefix) as victim:
            await asyncio.gather(*map(victim.put, records))
            held = [await victim.take() for _ in range(50)]
            await consuming(victim)
            cut(victim)
            await until(lambda: not any(each.is_ours for each in held), 5)
            began = time.monotonic()
            with pytest.raises(SpoolUnavailable):
                await held[0].settle([Successor(following(held[0].record))])
            await victim.stop_taking()
            taken = [await survivor.take() for _ in records]
            print(f"all {len(records)} with the survivor after {time.monotonic() - began:.2f} s")
        assert {each.record.key for each in taken} == {each.key for each in records}
        again = [each for each in taken if each.record.key in {one.record.key for one in held}]
        assert all(each.redelivered and each.deliveries >= 2 for each in again)
        await asyncio.gather(*(each.settle() for each in taken))
        await rabbitmq.emptied(prefix)


async def test_a_relay_that_gets_its_own_record_back_can_settle_it_and_does_not_see_it_twice(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        await queue.put(new_record())
        held = await queue.take()
        await consuming(queue)
        cut(queue)
        await consuming(queue)
        await until(lambda: bool(queue._consumer._copies._parked), 10)
        await held.settle()
        second = new_record()
        await queue.put(second)
        held = await queue.take()
        assert held.record == second
        await held.settle()
        await rabbitmq.emptied(prefix)


async def test_two_copies_of_a_record_in_one_relay_are_handed_out_once(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    record, last = new_record(), new_record()
    async with spool(rabbitmq, prefix) as queue:
        for name in ready_queues(prefix):
            await publish_raw(rabbitmq, name, encode(record))
        held = await queue.take()
        await until(lambda: bool(queue._consumer._copies._parked), 10)
        await held.settle()
        await publish_raw(rabbitmq, ready_queues(prefix)[1], encode(record))
        await publish_raw(rabbitmq, ready_queues(prefix)[1], encode(last))
        held = await queue.take()
        assert held.record == last
        await held.settle()
        await rabbitmq.emptied(prefix)


async def test_when_the_first_copy_is_released_the_second_one_is_handed_out(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    record = new_record()
    async with spool(rabbitmq, prefix) as queue:
        for name in ready_queues(prefix):
            await publish_raw(rabbitmq, name, encode(record))
        held = await queue.take()
        await until(lambda: bool(queue._consumer._copies._parked), 10)
        held.release()
        again = await queue.take()
        assert again.record == record
        await again.settle()
        await rabbitmq.emptied(prefix)


async def test_a_released_record_is_taken_by_another_relay(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as first, spool(rabbitmq, prefix) as second:
        await first.put(new_record())
        held = await first.take()
        taking = asyncio.create_task(second.take())
        await until(lambda: len(second._consumer._channels) == 2, 10)
        await first.stop_taking()
        held.release()
        async with asyncio.timeout(10):
            assert (await taking).redelivered


async def test_stop_taking_hands_back_what_was_not_taken_and_lets_held_ones_be_settled(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    records = [new_record() for _ in range(20)]
    async with spool(rabbitmq, prefix) as queue:
        await asyncio.gather(*map(queue.put, records))
        held = [await queue.take() for _ in range(5)]
        await queue.stop_taking()
        await asyncio.gather(*(each.settle() for each in held))
        left = {each.key for each in records} - {each.record.key for each in held}
        found: set[str] = set()
        async with asyncio.timeout(10):
            while found != left:
                found |= {each.key for each in await read_all(rabbitmq, ready_queues(prefix))}


async def test_a_record_returned_more_often_than_the_brokers_own_limit_is_still_there(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        await queue.put(new_record())
        for deliveries in range(1, 31):
            held = await queue.take()
            assert held.deliveries == deliveries
            held.release()
        await (await queue.take()).settle()


async def test_large_records_waiting_in_the_relay_are_bounded_in_bytes(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        records = [new_record(4 * 1024**2) for _ in range(22)]
        for each in records:
            await queue.put(each)
        keys = set()
        for _ in records:
            held = await queue.take()
            assert queue._consumer._buffered_bytes < 80 * 1024**2
            keys.add(held.record.key)
            await held.settle()
    assert keys == {each.key for each in records}


async def test_a_successor_with_the_key_of_its_record_is_refused(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        await queue.put(new_record())
        held = await queue.take()
        with pytest.raises(ValueError, match="the same key"):
            await held.settle([Successor(held.record, delay=1)])
