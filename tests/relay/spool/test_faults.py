"""Nodes die, freeze and come back under traffic: no confirmed record is lost, and intake goes on."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from functools import partial

import pytest

from relayfleet.amqp.errors import NotFound
from relayfleet.relay.spool.interface import SpoolUnavailable
from tests.relay.rabbitmq.cluster import Cluster
from tests.relay.spool.support import new_prefix, new_record, outlived, read_all, ready_queues, spool, traffic, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


async def test_the_leader_is_killed(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        assert rabbitmq.leader(ready_queues(prefix)[0], ask=1) == 1
        async with traffic(queue) as seen:
            await until(lambda: len(seen.confirmed) > 300, 20)
            await asyncio.to_thread(rabbitmq.kill, 1)
            before = len(seen.confirmed)
            await until(lambda: len(seen.confirmed) > before + 1000, 30)
    print(f"leader killed: longest pause {seen.longest_pause():.2f} s, {len(seen.failures)} refused")
    stored = {each.key for each in await read_all(rabbitmq, ready_queues(prefix), node=2)}
    assert seen.confirmed.keys() <= stored
    assert not seen.failures


async def test_the_leader_is_frozen(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        assert rabbitmq.leader(ready_queues(prefix)[0], ask=1) == 1
        assert rabbitmq.leader(ready_queues(prefix)[1], ask=1) == 2
        async with traffic(queue) as seen:
            await outlived(seen, partial(rabbitmq.freeze, 1), partial(rabbitmq.thaw, 1))
    await rabbitmq.healthy()
    records = await read_all(rabbitmq, ready_queues(prefix))
    stored = {each.key for each in records}
    print(
        f"leader frozen for 8 s: longest pause {seen.longest_pause():.2f} s, {len(seen.failures)} refused, "
        f"{len(seen.confirmed)} confirmed, {len(records) - len(stored)} second copies"
    )
    assert seen.confirmed.keys() <= stored
    assert not seen.failures


async def test_both_leaders_are_frozen_one_after_the_other(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue, traffic(queue) as seen:
        for node in (1, 2, 1):
            await until(lambda: len(seen.confirmed) > 300, 20)
            await asyncio.to_thread(rabbitmq.freeze, node)
            await asyncio.sleep(6)
            await asyncio.to_thread(rabbitmq.thaw, node)
            before = len(seen.confirmed)
            await until(lambda count=before: len(seen.confirmed) > count + 300, 30)  # type: ignore[misc]
    await rabbitmq.healthy()
    print(f"frozen in turn: longest pause {seen.longest_pause():.2f} s, refused {sorted(set(seen.failures))}")
    stored = {each.key for each in await read_all(rabbitmq, ready_queues(prefix))}
    assert seen.confirmed.keys() <= stored


async def test_records_flow_from_intake_to_settlement_while_nodes_die_and_freeze(rabbitmq: Cluster) -> None:
    """What a mail goes through, with random faults from a printed seed; whatever was confirmed is handled."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    prefix = new_prefix()
    handled: Counter[str] = Counter()
    async with spool(rabbitmq, prefix) as taking, spool(rabbitmq, prefix) as putting:

        async def deliver() -> None:
            while True:
                held = await taking.take()
                await asyncio.sleep(chance.uniform(0.01, 0.1))
                handled[held.record.key] += 1
                with suppress(SpoolUnavailable):
                    await held.settle()

        workers = [asyncio.create_task(deliver()) for _ in range(50)]
        async with traffic(putting) as seen:
            for _ in range(4):
                await asyncio.sleep(2)
                node = chance.choice(rabbitmq.nodes)
                if chance.random() < 0.5:
                    await asyncio.to_thread(rabbitmq.kill, node)
                else:
                    await asyncio.to_thread(rabbitmq.freeze, node)
                await asyncio.sleep(chance.uniform(1, 4))
                await asyncio.to_thread(rabbitmq.mend)
                await rabbitmq.healthy()
        await until(
            lambda: handled.keys() >= seen.confirmed.keys(), 30, lambda: f"{len(handled)} of {len(seen.confirmed)}"
        )
        for each in workers:
            each.cancel()
        failures = [
            each for each in await asyncio.gather(*workers, return_exceptions=True) if isinstance(each, Exception)
        ]
    print(f"{len(seen.confirmed)} confirmed, longest pause {seen.longest_pause():.2f} s, {len(seen.failures)} refused")
    print(f"{handled.total() - len(handled)} handled twice")
    assert failures == []
    assert seen.confirmed.keys() <= handled.keys()


async def test_a_relay_whose_put_was_cancelled_goes_on(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with spool(rabbitmq, prefix) as queue:
        for _ in range(50):
            task = asyncio.create_task(queue.put(new_record()))
            await asyncio.sleep(0)
            task.cancel()
        record = new_record()
        await queue.put(record)
    assert record.key in {each.key for each in await read_all(rabbitmq, ready_queues(prefix))}


async def test_no_queue_is_made_while_a_node_that_may_have_it_is_silent(rabbitmq: Cluster) -> None:
    """A declaration on a node that lost sight of a queue would remove the queue everywhere."""
    prefix = new_prefix()
    rabbitmq.freeze(3)
    async with spool(rabbitmq, prefix, wait=False) as queue:
        await until(
            lambda: "may exist on a node that does not answer" in queue.why_not_ready, 30, lambda: queue.why_not_ready
        )
        for name in ready_queues(prefix):
            with pytest.raises(NotFound):
                await rabbitmq.look(name)
        rabbitmq.thaw(3)
        await until(lambda: queue.ready, 30, lambda: queue.why_not_ready)
        await queue.put(new_record())


async def test_a_known_pool_starts_with_a_node_missing(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    record = new_record()
    async with spool(rabbitmq, prefix) as queue:
        await queue.put(record)
    rabbitmq.kill(3)
    async with spool(rabbitmq, prefix) as queue:
        held = await queue.take()
        assert held.record == record
        await held.settle()
