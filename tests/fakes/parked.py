"""Relays of one pool, their queues and their peers in virtual time: what parking does for mail whose destination is down. No broker, no socket.

What is known of destinations, trials, the ramp, session pools and marks are the product's; connecting, transactions, the journal's words and queues are played:
    an address that is down    lets a caller wait for a second and a half
    a deferred mail            comes back after 60 s, 120 s … up to four hours
    a parked mail              is looked at after 20 minutes, 5 ms for the move
    a word                     is with the others after 10 ms
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from relayfleet.protocol.relay_config import Delivery, Retry, Source
from relayfleet.relay.delivery.concurrency import Signal
from relayfleet.relay.delivery.errors import ConnectError, SmtpError
from relayfleet.relay.delivery.session import Session
from relayfleet.relay.delivery.sessions import SessionPool
from relayfleet.relay.parking.parking import Parking
from relayfleet.relay.retry.backoff import next_delay
from relayfleet.relay.routing.router import Route, Router
from relayfleet.relay.spool.interface import Journal, Word
from relayfleet.relay.spool.rabbitmq.requeue.ramp import Ramp
from relayfleet.relay.spool.rabbitmq.requeue.release import PAUSE
from relayfleet.relay.spool.rabbitmq.spool import MOST_RELEASED
from relayfleet.relay.spool.rabbitmq.topology import LANE_SECONDS
from tests.fakes.journal import MemoryJournal
from tests.fakes.laned import _Open

CONNECT_SECONDS, TIMEOUT_SECONDS, MAIL_SECONDS = 0.05, 1.5, 0.05
MOVE_SECONDS, WORD_SECONDS = 0.005, 0.01
HANDS = 200


@dataclass(eq=False)
class Peer:
    """A destination with one host. `up(now, relay, address)`: whether an address answers this relay."""

    name: str
    addresses: Sequence[str] = ("z",)
    up: Callable[[float, int, str], bool] = lambda now, relay, address: True

    @property
    def hosts(self) -> tuple[str, ...]:
        return (f"mx.{self.name}",)


@dataclass(eq=False, slots=True)
class Mail:
    """One record. `parked_at`: the last time."""

    peer: Peer
    put_at: float
    attempt: int = 0
    parked_at: float = 0.0


class Pool:
    """The pool's queues and peers. `dials`: calls by (destination, address), with their times."""

    def __init__(self, *peers: Peer, relays: int = 1, parks: bool = True) -> None:
        self.peers = {each.name: each for each in peers}
        self.front: asyncio.Queue[Mail] = asyncio.Queue()
        self.park: deque[Mail] = deque()
        self.delivered: list[tuple[Mail, float]] = []
        self.accepted: Counter[Peer] = Counter()
        self.dials: list[tuple[str, str, float]] = []
        self.moves = self.deferred = 0
        self.released: list[tuple[float, int]] = []
        self.relays = [Relay(self, number, parks=parks) for number in range(relays)]

    def put(self, peer: Peer, count: int = 1) -> None:
        """Accept mails."""
        self.accepted[peer] += count
        for _ in range(count):
            self.front.put_nowait(Mail(peer, now()))

    async def run(self, *traffic: Coroutine[Any, Any, None], seconds: float) -> None:
        """For so long."""
        tasks = [asyncio.create_task(each) for each in (*traffic, self._look(), *(each.run() for each in self.relays))]
        await asyncio.sleep(seconds)
        failed = [each.exception() for each in tasks if each.done() and each.exception()]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not failed, failed

    def calls(self, peer: Peer, since: float, until: float) -> int:
        """How often it was called in that time."""
        return sum(name == peer.name and since <= at < until for name, _, at in self.dials)

    async def _look(self) -> None:
        """What has been parked for long comes to be looked at: here by whoever takes from the front."""
        while True:
            await asyncio.sleep(1.0)
            while self.park and self.park[0].parked_at + LANE_SECONDS <= now():
                self.front.put_nowait(self.park.popleft())


class _Sessions(SessionPool):
    """Of one relay."""

    def __init__(self, pool: Pool, number: int) -> None:
        self._pool, self._number = pool, number

        async def addresses(host: str, family: object) -> tuple[str, ...]:
            return tuple(pool.peers[host.removeprefix("mx.")].addresses)

        async def route(domain: str) -> Route:
            return remembered(domain)

        def remembered(domain: str) -> Route:
            hosts = pool.peers[domain].hosts
            return Route(hosts, hosts)

        router = SimpleNamespace(addresses=addresses, route=route, remembered=remembered)
        super().__init__(cast("Router", router), Delivery())

    async def dial(self, source: Source, host: str, address: str, deadline: float) -> Session:
        peer = self._pool.peers[host.removeprefix("mx.")]
        self._pool.dials.append((peer.name, address, now()))
        if not peer.up(now(), self._number, address):
            await asyncio.sleep(TIMEOUT_SECONDS)
            raise ConnectError("connect", "no answer within 1.5 seconds")
        await asyncio.sleep(CONNECT_SECONDS)
        return cast("Session", _Open(address, now(), now()))


@dataclass
class _Journal(MemoryJournal):
    """Words come to all other relays, in one order."""

    pool: Pool | None = None

    def say(self, word: Word) -> None:
        assert self.pool is not None
        super().say(word)
        for each in self.pool.relays:
            if each.journal is not self:
                for heard in each.journal.listeners:
                    asyncio.get_running_loop().call_later(WORD_SECONDS, heard, word)


class Relay:
    """One of the pool's."""

    def __init__(self, pool: Pool, number: int, *, parks: bool) -> None:
        self._pool, self.journal = pool, _Journal(pool=pool)
        self._sessions = _Sessions(pool, number)
        self._source = Source("pod", "", "relay.test")
        self.parking = Parking(
            self._sessions, lambda: [self._source], cast("Journal", self.journal), Random(number + 1)
        )
        self.parking.use(parks)
        self._parks = parks
        self._ramp = Ramp()
        self._slots = asyncio.Semaphore(HANDS)
        self._tasks: set[asyncio.Task[None]] = set()

    def stop_parking(self) -> None:
        """As an operator orders, or a relay that knows nothing of it."""
        self._parks = False
        self.parking.use(False)

    async def run(self) -> None:
        """For ever: to be cancelled."""
        self.parking.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take())
                group.create_task(self._release())
                group.create_task(self._sweep())
        finally:
            await self.parking.stop()

    async def _take(self) -> None:
        while True:
            await self._slots.acquire()
            task = asyncio.create_task(self._handle(await self._pool.front.get()))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._slots.release()
        if not task.cancelled():
            task.result()

    async def _handle(self, mail: Mail) -> None:
        destination = await self.parking.leads_to_nobody([mail.peer.name]) if self._parks else None
        if destination is None:
            await self._deliver(mail)
            return
        await asyncio.sleep(MOVE_SECONDS)
        self.parking.parked(destination)
        self._pool.moves += 1
        mail.parked_at = now()
        self._pool.park.append(mail)

    async def _deliver(self, mail: Mail) -> None:
        route = Route(mail.peer.hosts, mail.peer.hosts)
        destination = self._sessions.destination(self._source, route)
        try:
            session = await destination.acquire(now() + 300.0)
        except SmtpError:
            self._pool.deferred += 1
            delay = next_delay(Retry(), mail.attempt, 0.5, now() - mail.put_at)
            mail.attempt += 1
            asyncio.get_running_loop().call_later(delay, self._pool.front.put_nowait, mail)
            return
        began = now()
        await asyncio.sleep(MAIL_SECONDS)
        session.mails += 1
        destination.give_back(session)
        destination.hear(Signal.WELL, began)
        self._pool.delivered.append((mail, now()))

    async def _release(self) -> None:
        """Visits by the first relay that may; none reads beside it."""
        while True:
            await asyncio.sleep(PAUSE)
            if self is self._pool.relays[0] and self._ramp.follow(self.parking.due()):
                self._visit()

    def _visit(self) -> None:
        self._ramp.begin()
        kept, gone = deque[Mail](), 0
        for mail in self._pool.park:
            has_room = self._pool.front.qsize() < MOST_RELEASED
            if has_room and self.parking.is_due(mail.peer.hosts) and self._ramp.takes(mail.peer.hosts):
                self._pool.front.put_nowait(mail)
                gone += 1
            else:
                kept.append(mail)
        self._pool.park = kept
        self._ramp.ended(whole=not kept)
        self._pool.released.append((now(), gone))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(5.0)
            self._sessions.sweep()


async def arrive(pool: Pool, peer: Peer, rate: float, seconds: float, seed: int = 5) -> None:
    """Mail for a peer at random (Poisson), so many a second, for so long."""
    chance, until = Random(seed), now() + seconds
    for _ in itertools.count():
        await asyncio.sleep(chance.expovariate(rate))
        if now() >= until:
            return
        pool.put(peer)


def now() -> float:
    """Loop time."""
    return asyncio.get_running_loop().time()
