"""Parked mail at real brokers: it is stored, looked at, and let go; the leader and the relay die in the middle; nothing is lost, and nothing stays unseen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from relayfleet.amqp.channel import Channel
from relayfleet.relay.spool.interface import Hosts, SpoolError
from relayfleet.relay.spool.places import FRONT, LOOK, PARK
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool, topology
from relayfleet.relay.spool.rabbitmq.requeue import release
from relayfleet.relay.spool.rabbitmq.requeue.ramp import FIRST
from relayfleet.relay.spool.record import Record
from tests.relay.rabbitmq.cluster import Cluster
from tests.relay.spool.support import by_key, new_prefix, new_record, put_at_last, read_all, ready_queues, spool, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(200)]

LEADER = 2
"""The node that side b, and so the queue of parked mail, prefers."""
HERE: Hosts = ("mx.here.test",)


@dataclass
class Up:
    """Fits Releases: all mail is for one destination, which `is_up`."""

    is_up: bool = False

    def due(self) -> Mapping[Hosts, float]:
        return {HERE: 1.0} if self.is_up else {}

    def is_due(self, destination: Hosts) -> bool:
        return self.is_up

    def of(self, record: Record) -> Hosts | None:
        return HERE


@dataclass
class Handled:
    """What workers did: keys delivered, how often each. Taken mail is parked while `down`."""

    down: bool = True
    parked: int = 0
    delivered: Counter[str] = field(default_factory=Counter)

    async def work(self, taking: RabbitMQSpool, place: int) -> None:
        while True:
            held = await taking.take(place)
            try:
                if self.down and taking.parks:
                    await held.move(PARK)
                    self.parked += 1
                    continue
            except SpoolError:  # it is here still, or with others
                if not held.is_ours:
                    held.release()
                    continue
            if self.down:
                await asyncio.sleep(0.05)
                held.release()
                continue
            with suppress(SpoolError):
                await held.settle()
                self.delivered[held.record.key] += 1


def queues(prefix: str) -> list[str]:
    """All that may hold mail."""
    own = topology.Topology(prefix, 3)
    return [*ready_queues(prefix), own.place(LOOK), own.place(PARK)]


@asynccontextmanager
async def parking(cluster: Cluster, prefix: str) -> AsyncIterator[RabbitMQSpool]:
    """A relay's spool whose pool parks mail."""
    async with spool(cluster, prefix) as opened:
        opened.park(True)
        opened._consumer.provider_lanes.start()
        await until(lambda: opened.parks, 60, lambda: opened._consumer.provider_lanes._link.why)
        yield opened


@asynccontextmanager
async def working(handled: Handled, *relays: RabbitMQSpool) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(handled.work(each, place)) for each in relays for place in (FRONT, LOOK) for _ in range(10)
    ]
    try:
        yield
    finally:
        for each in tasks:
            each.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each for each in ends if not isinstance(each, asyncio.CancelledError)] == []


async def accepted(queue: RabbitMQSpool, count: int) -> dict[str, Record]:
    """New mail."""
    records = {each.key: each for each in (new_record() for _ in range(count))}
    await asyncio.gather(*(put_at_last(queue, each) for each in records.values()))
    return records


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes in a real pool."""
    for name, seconds in {"PAUSE": 0.5, "FAULT_PAUSE": 0.5, "OTHERS_PAUSE": 1.0, "LOOK": 0.2}.items():
        monkeypatch.setattr(release, name, seconds)


async def test_what_is_parked_lies_there_as_it_was_and_is_let_go_few_at_first(rabbitmq: Cluster) -> None:
    prefix, handled, up = new_prefix(), Handled(), Up()
    async with parking(rabbitmq, prefix) as queue:
        assert rabbitmq.leader(f"{prefix}.v1.park", ask=1) == LEADER
        queue.release(up)
        async with working(handled, queue):
            records = await accepted(queue, 200)
            await until(lambda: queue.parked >= len(records), 60, lambda: f"{queue.parked}, {handled.parked}")
            await asyncio.sleep(1.0)
            assert queue.releaser.released == 0
            handled.down, up.is_up = False, True
            await until(lambda: queue.releaser.released >= FIRST, 30)
            assert queue.releaser.released < len(records)
            await until(lambda: handled.delivered.keys() == records.keys(), 60, lambda: str(len(handled.delivered)))
        assert set(handled.delivered.values()) == {1}
        await rabbitmq.emptied(prefix)


async def test_what_nobody_lets_go_comes_to_be_looked_at_and_then_to_the_front(
    rabbitmq: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no relay that knows of parking, and no operator."""
    monkeypatch.setattr(topology, "LANE_SECONDS", 3)
    monkeypatch.setattr(topology, "LOOK_SECONDS", 3)
    prefix = new_prefix()
    async with parking(rabbitmq, prefix) as queue:
        records = await accepted(queue, 20)
        for _ in records:
            await (await queue.take()).move(PARK)
    async with spool(rabbitmq, prefix) as later:
        counts, ready = later._watermark.counts, ready_queues(prefix)
        await until(lambda: sum(counts.get(each, 0) for each in ready) == len(records), 30, lambda: str(counts))
    assert by_key(await read_all(rabbitmq, ready_queues(prefix))) == records


async def test_a_relay_whose_pool_parks_no_more_takes_what_lies_there_when_it_is_looked_at(
    rabbitmq: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "LANE_SECONDS", 3)
    prefix = new_prefix()
    async with parking(rabbitmq, prefix) as before:
        await before.put(new_record())
        await (await before.take()).move(PARK)
    async with spool(rabbitmq, prefix) as after:
        look = asyncio.create_task(after.take(LOOK))
        held = await asyncio.wait_for(look, 30)
        assert not after.parks
        await held.settle()
        await rabbitmq.emptied(prefix)


async def test_a_queue_of_parked_mail_that_is_deleted_is_made_again(
    rabbitmq: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relayfleet.relay.spool.rabbitmq.providerlanes.RETRY", 1.0)
    prefix, record = new_prefix(), new_record()
    async with parking(rabbitmq, prefix) as queue:
        connection = queue._publisher.lanes["a"].link.connection
        assert connection is not None
        await (await Channel.open(connection, 10)).delete(f"{prefix}.v1.park", 10)
        await queue.put(record)
        held = await queue.take()
        with pytest.raises(SpoolError):
            await held.move(PARK)
        assert held.is_ours
        assert not queue.parks
        await until(lambda: queue.parks, 60)
        await held.move(PARK)
    assert [each.key for each in await read_all(rabbitmq, queues(prefix))] == [record.key]


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_the_leader_is_away_while_mail_is_parked_and_while_it_is_let_go(rabbitmq: Cluster, fault: str) -> None:
    """None is lost. What comes twice has one name, which the journal tells apart."""
    prefix, handled, up = new_prefix(), Handled(), Up()
    strike = getattr(rabbitmq, fault)
    async with parking(rabbitmq, prefix) as queue, parking(rabbitmq, prefix) as other:
        queue.release(up)
        other.release(up)
        async with working(handled, queue, other):
            records = await accepted(queue, 300)
            await until(lambda: handled.parked > 50, 60, lambda: str(handled.parked))
            await asyncio.to_thread(strike, LEADER)
            records |= await accepted(queue, 300)
            await asyncio.sleep(5)
            await asyncio.to_thread(rabbitmq.mend)
            await rabbitmq.healthy()
            await until(lambda: max(queue.parked, other.parked) >= len(records), 60, lambda: f"{queue.parked}")
            handled.down, up.is_up = False, True
            await until(lambda: len(handled.delivered) > 2 * FIRST, 60, lambda: str(len(handled.delivered)))
            await asyncio.to_thread(strike, LEADER)
            await asyncio.sleep(5)
            await asyncio.to_thread(rabbitmq.mend)
            await rabbitmq.healthy()
            await until(lambda: handled.delivered.keys() >= records.keys(), 90, lambda: str(len(handled.delivered)))
    twice = handled.delivered.total() - len(handled.delivered)
    print(f"{fault}: {len(records)} mails, {handled.parked} times parked, {twice} second copies")
    assert handled.delivered.keys() == records.keys()


async def test_a_relay_that_dies_while_it_lets_mail_go_loses_none_and_another_goes_on(rabbitmq: Cluster) -> None:
    prefix, up = new_prefix(), Up(is_up=True)
    async with parking(rabbitmq, prefix) as other:
        async with parking(rabbitmq, prefix) as dying:
            records = await accepted(dying, 70)  # fewer than may stand ready: nobody takes them here
            for _ in records:
                await (await dying.take()).move(PARK)
            dying.release(up)
            await until(lambda: dying.releaser.released > FIRST, 60)
            for lane in dying._publisher.lanes.values():
                lane.link.begin_again("cut by the test")
            dying._target.credentials = lambda: ("nobody", "")  # it does not come back
            lock = dying.releaser._lock
            assert lock is not None
            assert lock._transport is not None
            lock._transport.abort()
            other.release(up)
            total = len(records)
            await until(lambda: dying.releaser.released + other.releaser.released >= total, 90)
            assert other.releaser.released, "it has taken over"
        await until(lambda: other.parked == 0, 30)
    stored = Counter(each.key for each in await read_all(rabbitmq, queues(prefix)))
    print(f"{sum(stored.values()) - len(stored)} second copies")
    assert stored.keys() == records.keys()
