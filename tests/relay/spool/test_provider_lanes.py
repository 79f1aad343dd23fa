"""Provider lanes at real brokers: mail goes there, is taken, moved and looked at; their leader dies and freezes; nothing is lost, and nothing stays unseen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from relayfleet.amqp.channel import Channel
from relayfleet.relay.spool.interface import SpoolError
from relayfleet.relay.spool.places import FRONT, LANED, LOOK, PLACES
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool, topology
from relayfleet.relay.spool.rabbitmq.consumer import RabbitHeld
from tests.relay.rabbitmq.cluster import Cluster
from tests.relay.spool.support import (
    by_key,
    new_prefix,
    new_record,
    outlived,
    put_at_last,
    read_all,
    ready_queues,
    spool,
    traffic,
    until,
)

pytestmark = [pytest.mark.broker, pytest.mark.timeout(150)]

LANE = 3
LEADER = 2
"""The node that side b, and so all lanes, prefer."""


def laned_queues(prefix: str) -> list[str]:
    """All that may hold mail to be delivered now."""
    return [*ready_queues(prefix), *(topology.Topology(prefix, 3).place(each) for each in LANED)]


@asynccontextmanager
async def laned(cluster: Cluster, prefix: str, *, taking: bool = True) -> AsyncIterator[RabbitMQSpool]:
    """A relay's spool whose pool uses lanes, all mail of which goes to one; not `taking`: its lanes exist, and it takes nothing."""
    async with spool(cluster, prefix) as opened:
        opened._lane_of = lambda recipients: LANE
        opened.use_lanes(True)
        opened._consumer.provider_lanes.start()
        await until(lambda: opened.uses_lanes, 60, lambda: opened._consumer.provider_lanes._link.why)
        if not taking:
            await opened.stop_taking()
        yield opened


async def taken(queue: RabbitMQSpool, keys: set[str]) -> dict[str, RabbitHeld]:
    """Take from all places until these have come; what else comes, copies for example, stays in hand. A lane that is slow to confirm on a busy machine has its
    mail in the front, as it should."""
    found: dict[str, RabbitHeld] = {}

    async def take(place: int) -> None:
        while True:
            held = await queue.take(place)
            found.setdefault(held.record.key, held)

    takers = [asyncio.create_task(take(each)) for each in PLACES]
    try:
        await until(lambda: keys <= found.keys(), 60, lambda: f"{len(found)} of {len(keys)}")
    finally:
        for each in takers:
            each.cancel()
        await asyncio.gather(*takers, return_exceptions=True)
    return found


async def test_new_mail_waits_in_its_lane_and_is_taken_from_there(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    records = [new_record() for _ in range(100)]
    async with laned(rabbitmq, prefix) as queue:
        assert rabbitmq.leader(f"{prefix}.v1.lane.{LANE}", ask=1) == LEADER
        await asyncio.gather(*map(queue.put, records))
        found = await taken(queue, {each.key for each in records})
        assert {each.place for each in found.values()} <= {LANE, FRONT}
        assert LANE in {each.place for each in found.values()}
        assert [each.record for each in found.values()] != []
        await asyncio.gather(*(each.settle() for each in found.values()))
        await rabbitmq.emptied(prefix)


async def test_a_lane_from_which_nothing_goes_holds_up_no_other_place(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with laned(rabbitmq, prefix) as queue:
        # Until it is trusted it gets one record at a time, and all others go to the front.
        while not queue._publisher.lanes["b"]._trusted:
            await queue.put(new_record())
        await asyncio.gather(*(queue.put(new_record()) for _ in range(400)))
        await until(lambda: queue.laned.get(LANE, 0) > 0, 20, lambda: str(queue.laned))  # beyond its prefetch
        queue._lane_of = lambda recipients: None
        others = {each.key: each for each in (new_record() for _ in range(300))}
        await asyncio.gather(*map(queue.put, others.values()))
        seen = set[str]()
        async with asyncio.timeout(60):
            while not others.keys() <= seen:
                held = await queue.take()
                assert held.place == FRONT
                seen.add(held.record.key)
                await held.settle()
        assert queue.laned[LANE] > 0
        assert queue._watermark.estimate > 0


async def test_a_moved_record_is_in_its_lane_once_under_its_own_name(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with laned(rabbitmq, prefix) as queue:
        queue._lane_of = lambda recipients: None
        records = [new_record() for _ in range(100)]
        await asyncio.gather(*map(queue.put, records))
        held = [await queue.take() for _ in records]
        await asyncio.gather(*(each.move(5) for each in held))
        assert not any(each.redelivered for each in held)
        found = [await queue.take(5) for _ in records]
        assert by_key(each.record for each in found) == by_key(records)
        await asyncio.gather(*(each.settle() for each in found))
        await rabbitmq.emptied(prefix)


async def test_a_relay_that_dies_between_a_move_and_its_acknowledgement_leaves_two_copies_of_one_name(
    rabbitmq: Cluster,
) -> None:
    prefix = new_prefix()
    record = new_record()
    async with laned(rabbitmq, prefix) as dying:
        dying._lane_of = lambda recipients: None
        await dying.put(record)
        held = await dying.take()
        await dying._move(record, 5)  # stored, confirmed, and no further
        assert held.is_ours
    stored = await read_all(rabbitmq, laned_queues(prefix))
    assert [each.key for each in stored] == [record.key] * 2, "which the journal tells apart"


async def test_what_nobody_takes_from_a_lane_comes_to_be_looked_at_and_then_to_the_front(
    rabbitmq: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "LANE_SECONDS", 3)
    monkeypatch.setattr(topology, "LOOK_SECONDS", 3)
    prefix = new_prefix()
    records = {each.key: each for each in (new_record() for _ in range(20))}
    async with laned(rabbitmq, prefix, taking=False) as queue:
        for each in records.values():
            await queue.put(each)
        await until(lambda: queue.laned.get(LOOK, 0) > 0, 30, lambda: str(queue.laned))
        ready = ready_queues(prefix)
        counts = queue._watermark.counts
        await until(lambda: sum(counts.get(each, 0) for each in ready) >= len(records), 30, lambda: str(counts))
        assert (queue.laned[LANE], queue.laned[LOOK]) == (0, 0)
    assert {each.key: each for each in await read_all(rabbitmq, ready)} == records


async def test_a_relay_whose_pool_uses_lanes_no_more_takes_what_they_hold(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    record = new_record()
    async with laned(rabbitmq, prefix, taking=False) as before:
        await before.put(record)
    async with spool(rabbitmq, prefix) as after:
        held = (await taken(after, {record.key}))[record.key]
        assert held.record == record
        await held.settle()
        await after.put(new_record())
        assert (await after.take()).place == FRONT
        assert not after.uses_lanes


async def test_a_lane_that_is_deleted_is_made_again_and_intake_goes_on(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    async with laned(rabbitmq, prefix) as queue, spool(rabbitmq, prefix) as other:
        connection = other._publisher.lanes["a"].link.connection
        assert connection is not None
        await (await Channel.open(connection, 10)).delete(f"{prefix}.v1.lane.{LANE}", 10)
        async with traffic(queue) as seen:
            await until(lambda: len(seen.confirmed) > 300, 30)
        assert not seen.failures
        await until(lambda: queue.uses_lanes, 30, lambda: queue._consumer.provider_lanes._link.why)
        record = new_record()
        await queue.put(record)
    assert seen.confirmed.keys() | {record.key} <= {each.key for each in await read_all(rabbitmq, laned_queues(prefix))}


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_the_leader_of_the_lanes_is_killed_or_frozen_and_intake_goes_on_in_the_front(
    rabbitmq: Cluster, fault: str
) -> None:
    prefix = new_prefix()
    async with laned(rabbitmq, prefix, taking=False) as queue, traffic(queue) as seen:
        await outlived(seen, partial(getattr(rabbitmq, fault), LEADER), rabbitmq.mend)
    await rabbitmq.healthy()
    records = await read_all(rabbitmq, laned_queues(prefix))
    stored = {each.key for each in records}
    print(
        f"leader of the lanes, {fault}: longest pause {seen.longest_pause():.2f} s, {len(seen.failures)} refused, "
        f"{len(seen.confirmed)} confirmed, {len(records) - len(stored)} second copies"
    )
    assert seen.confirmed.keys() <= stored
    assert not seen.failures


async def test_mail_flows_through_lanes_moves_and_looks_while_their_leader_dies_and_freezes(rabbitmq: Cluster) -> None:
    """All is moved once from the front; whatever was confirmed is handled."""
    prefix, handled = new_prefix(), Counter[str]()

    async def work(place: int, taking: RabbitMQSpool) -> None:
        while True:
            held: RabbitHeld = await taking.take(place)
            try:
                if place == FRONT and taking.uses_lanes:
                    await held.move(7)
                    continue
            except SpoolError:  # it is here still, or with others
                if not held.is_ours:
                    held.release()
                    continue
            handled[held.record.key] += 1
            with suppress(SpoolError):
                await held.settle()

    async with laned(rabbitmq, prefix) as taking, laned(rabbitmq, prefix) as putting:
        await putting.stop_taking()
        workers = [asyncio.create_task(work(each, taking)) for each in PLACES for _ in range(5)]
        async with traffic(putting) as seen:
            for fault in (rabbitmq.kill, rabbitmq.freeze):
                await until(lambda: len(seen.confirmed) > 300, 30)
                putting._lane_of = lambda recipients: None if len(seen.confirmed) % 2 else LANE
                await asyncio.to_thread(fault, LEADER)
                await asyncio.sleep(5)
                await asyncio.to_thread(rabbitmq.mend)
                await rabbitmq.healthy()
        await put_at_last(putting, new_record())
        await until(
            lambda: handled.keys() >= seen.confirmed.keys(), 60, lambda: f"{len(handled)} of {len(seen.confirmed)}"
        )
        for each in workers:
            each.cancel()
        ends = await asyncio.gather(*workers, return_exceptions=True)
    print(f"{len(seen.confirmed)} confirmed, {len(seen.failures)} refused, {handled.total() - len(handled)} twice")
    assert [each for each in ends if not isinstance(each, asyncio.CancelledError)] == []
