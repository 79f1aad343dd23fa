"""A Bulk pool and a Transactional one on the same three brokers: the one yields, neither loses a mail, and the Bulk one goes on when brokers are back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from relayfleet.protocol.relay_config import Limits
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.scavenger.window import LEAST, MOST
from relayfleet.relay.server import SmtpServer
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.record import Record
from tests.fakes.spool import MemorySpool
from tests.relay.rabbitmq.cluster import Cluster
from tests.relay.server.harness import config, connected, serving
from tests.relay.spool.support import new_prefix, read_all, ready_queues, spool, until

pytestmark = pytest.mark.broker

MESSAGE = b"Subject: x\r\n\r\n" + b"x" * 2000 + b"\r\n.\r\n"
ENDLESS = config(limits=Limits(session_messages=10**9, session_seconds=1e9))
FLOOD = MOST + 16
"""Clients: more than a window ever has places for, and fewer than one address may have sessions."""

TURN_SECONDS = 0.05
"""So short that some of a flood are put off, however quick the brokers are."""
AGAIN = 0.5
"""Seconds after which a client that was put off comes again: at once, eighty of them would keep a core busy."""


@dataclass(eq=False, slots=True)
class Watched(MemorySpool):
    """A real queue, and how many puts were under way in it at a time."""

    real: RabbitMQSpool = field(kw_only=True)
    under_way: int = 0
    most: int = 0

    async def put(self, record: Record) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.real.put(record)
        finally:
            self.under_way -= 1


@dataclass
class Pool:
    """One relay's intake. `answers` counts them by their codes, `accepted` has the ids of 250."""

    prefix: str
    server: SmtpServer
    scavenger: Scavenger
    spool: Watched
    accepted: set[str] = field(default_factory=set)
    answers: dict[str, int] = field(default_factory=dict)

    async def send(self, over: asyncio.Event, pause: float = 0.0) -> None:
        """One mail after the other over one session."""
        async with connected(self.server) as client:
            while not over.is_set():
                await client.envelope()
                client.send(MESSAGE)
                answer = (await client.reply()).decode()
                if answer.startswith("250"):
                    self.accepted.add(answer.split()[-1])
                code = answer[:9]
                self.answers[code] = self.answers.get(code, 0) + 1
                await asyncio.sleep(pause if code.startswith("250") else AGAIN)


@asynccontextmanager
async def pool(rabbitmq: Cluster, *, bulk: bool) -> AsyncIterator[Pool]:
    prefix, scavenger = new_prefix(), Scavenger(bulk=bulk, turn_seconds=TURN_SECONDS)
    async with spool(rabbitmq, prefix, broker=rabbitmq.broker(prefix, publish_timeout=2.0)) as real:
        watched = Watched(real=real)
        async with serving(ENDLESS, watched, scavenger=scavenger) as server:
            yield Pool(prefix, server, scavenger, watched)


@asynccontextmanager
async def sending(pool: Pool, clients: int, pause: float = 0.0) -> AsyncIterator[None]:
    over = asyncio.Event()
    tasks = [asyncio.create_task(pool.send(over, pause)) for _ in range(clients)]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*tasks)


async def all_stored(rabbitmq: Cluster, pool: Pool) -> None:
    stored = {each.id for each in await read_all(rabbitmq, ready_queues(pool.prefix))}
    assert pool.accepted <= stored


async def test_beside_a_flood_of_bulk_mail_all_other_mail_is_taken_and_none_of_either_is_lost(
    rabbitmq: Cluster,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        bulk = await stack.enter_async_context(pool(rabbitmq, bulk=True))
        other = await stack.enter_async_context(pool(rabbitmq, bulk=False))
        async with sending(bulk, FLOOD), sending(other, 4, pause=0.02):
            await until(lambda: len(other.accepted) > 300 and len(bulk.accepted) > 300, 60, lambda: str(bulk.answers))
        assert 1 < bulk.spool.most <= MOST, "the window bounds what is on its way"
        assert LEAST <= bulk.scavenger.window.size <= MOST
        assert bulk.answers.keys() == {"250 2.0.0", "451 4.3.2"}
        assert bulk.answers["451 4.3.2"] > 0, "it yielded"
        assert other.answers.keys() == {"250 2.0.0"}
        assert (bulk.scavenger.in_flight, other.scavenger.in_flight, other.scavenger.waited_seconds) == (0, 0, 0.0)
    await all_stored(rabbitmq, bulk)
    await all_stored(rabbitmq, other)


async def test_without_a_majority_the_window_closes_to_its_least_and_opens_again_when_brokers_are_back(
    rabbitmq: Cluster,
) -> None:
    async with pool(rabbitmq, bulk=True) as bulk:
        async with sending(bulk, FLOOD):
            await until(lambda: len(bulk.accepted) > 300, 60, lambda: str(bulk.answers))
            rabbitmq.kill(2)
            rabbitmq.kill(3)
            await until(lambda: bulk.answers.get("451 4.3.0", 0) > 0, 60, lambda: str(bulk.answers))
            await until(lambda: bulk.scavenger.window.size == LEAST, 60, lambda: str(bulk.scavenger.window))
            rabbitmq.mend()
            await rabbitmq.healthy()
            before = len(bulk.accepted)
            await until(lambda: len(bulk.accepted) > before + 300, 60, lambda: str(bulk.answers))
            await until(lambda: bulk.scavenger.window.size > LEAST, 60, lambda: str(bulk.scavenger.window))
        assert bulk.answers["451 4.3.2"] > 0
        assert bulk.scavenger.in_flight == 0
    await all_stored(rabbitmq, bulk)
