"""Taking that stops can go on; and confirms are counted against the broker that gave them, or did not."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.relay.spool.interface import SpoolUnavailable
from relayfleet.relay.spool.record import Record
from tests.relay.rabbitmq.cluster import Cluster
from tests.relay.spool.support import by_key, new_prefix, new_record, ready_queues, spool, traffic, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


async def test_after_taking_was_stopped_it_goes_on_and_nothing_is_lost_or_taken_twice(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    records = [new_record() for _ in range(300)]
    taken: list[Record] = []
    async with spool(rabbitmq, prefix, prefetch=50) as queue:
        await asyncio.gather(*map(queue.put, records))
        async with asyncio.timeout(60):
            for number in range(len(records)):
                held = await queue.take()
                taken.append(held.record)
                await held.settle()
                if number % 60 == 30:
                    await queue.stop_taking()
                    await queue.resume_taking()
        await rabbitmq.emptied(prefix)
    assert by_key(taken) == by_key(records)


async def test_another_relay_takes_what_one_that_stands_aside_has_handed_back(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    records = [new_record() for _ in range(40)]
    async with spool(rabbitmq, prefix) as aside, spool(rabbitmq, prefix) as other:
        await asyncio.gather(*map(aside.put, records))
        mine = await aside.take()
        await aside.stop_taking()
        taken: list[Record] = []
        async with asyncio.timeout(30):
            while len(taken) < len(records) - 1:
                held = await other.take()
                taken.append(held.record)
                await held.settle()
        await mine.settle()
        assert by_key([*taken, mine.record]) == by_key(records)
        await other.stop_taking()
        await aside.resume_taking()
        late = new_record()
        await aside.put(late)
        async with asyncio.timeout(10):
            assert (await aside.take()).record == late


async def test_taking_goes_on_when_the_connections_were_lost_meanwhile(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        await queue.put(new_record())
        await (await queue.take()).settle()
        await queue.stop_taking()
        for link in queue._consumer._links.values():
            link.begin_again("cut by the test")
        await queue.resume_taking()
        record = new_record()
        await queue.put(record)
        async with asyncio.timeout(20):
            assert (await queue.take()).record == record


async def test_confirms_are_counted_by_broker_and_a_frozen_one_is_late(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        assert rabbitmq.leader(ready_queues(prefix)[0], ask=1) == 1
        tally = queue._publisher._tally
        tally.take()
        for _ in range(20):
            await queue.put(new_record())
        # One that is slow for a moment is late, and the other lane's broker confirms in its stead, if it is the first to.
        rows = {each.broker: each for each in tally.take()[1]}
        confirmed, late = (sum(getattr(each, name) for each in rows.values()) for name in ("confirmed", "late"))
        assert confirmed <= 20 <= confirmed + late
        assert rows[rabbitmq.addresses[0]].confirmed > 10
        async with traffic(queue) as seen:
            await asyncio.to_thread(rabbitmq.freeze, 1)
            tally.take()
            before = len(seen.confirmed)
            await until(lambda: len(seen.confirmed) > before + 300, 30)
            rows = {each.broker: each for each in tally.take()[1]}
        await asyncio.to_thread(rabbitmq.thaw, 1)
    assert rows[rabbitmq.addresses[0]].late > 0
    assert rows[rabbitmq.addresses[1]].confirmed > 100
    assert rows[rabbitmq.addresses[1]].late <= rows[rabbitmq.addresses[1]].confirmed // 10


async def test_without_any_connection_publishes_are_late_at_the_broker_that_is_not_reached(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        tally = queue._publisher._tally
        for node in rabbitmq.nodes:
            await asyncio.to_thread(rabbitmq.kill, node)
        await until(lambda: not queue.ready, 20)
        tally.take()
        with pytest.raises(SpoolUnavailable):
            await queue.put(new_record())
        rows = tally.take()[1]
        assert sum(each.late for each in rows) > 0
        assert {each.broker for each in rows} <= set(rabbitmq.addresses)
        assert sum(each.confirmed for each in rows) == 0
