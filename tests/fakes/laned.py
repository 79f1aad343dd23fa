"""A relay, its front, its provider lanes and its peers in virtual time: what lanes do for mail beside one that is slow. No broker, no socket.

The relay's hands, the rule by which mail is moved, session pools and their concurrency are the product's; connecting, transactions and queues are played:
    front       gives a record whenever a hand is free, as do the lanes, each to its own
    move        one write: 5 ms, and no more than 2,000 a second
    a deferred  mail comes back to the front after 60 s
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from relayfleet.protocol.relay_config import Delivery, Source
from relayfleet.relay.delivery.concurrency import Signal
from relayfleet.relay.delivery.courier import BUSY_SECONDS
from relayfleet.relay.delivery.errors import BusyError
from relayfleet.relay.delivery.hands import Hands
from relayfleet.relay.delivery.session import Session
from relayfleet.relay.delivery.sessions import SessionPool
from relayfleet.relay.routing.router import Route, Router
from relayfleet.relay.spool.interface import Held
from relayfleet.relay.spool.places import FRONT, PLACES, leads_to

HANDS = 200
MOVES_A_SECOND, MOVE_SECONDS = 2000.0, 0.005
DEFERRED_SECONDS, SILENT_SECONDS = 60.0, 300.0
CONNECT_SECONDS = 0.05


@dataclass(eq=False)
class Peer:
    """A destination. `lane`: its provider lane; `seconds`: of one transaction; `rate`: mails a second over all sessions; `silent(now)`: seconds for which it
    will not answer yet."""

    name: str
    lane: int
    seconds: float = 0.05
    rate: float = math.inf
    silent: Callable[[float], float] = lambda now: 0.0
    _turn: float = 0.0

    async def take(self) -> None:
        """One mail, by one session."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.silent(loop.time()))
        self._turn = max(self._turn, loop.time()) + 1 / self.rate
        await asyncio.sleep(max(self._turn - loop.time() - 1 / self.rate, 0.0) + self.seconds)


@dataclass(eq=False, slots=True)
class Mail:
    """One record, and where it lies. `put_at`: loop time at which it was accepted."""

    peer: Peer
    put_at: float
    place: int = FRONT


@dataclass(eq=False, frozen=True)
class _Held:
    """As much of a record in hand as hands look at."""

    place: int


@dataclass(eq=False)
class _Open:
    """As much of a session as a pool looks at."""

    address: str
    opened_at: float
    used_at: float
    mails: int = 0
    usable: bool = True
    tls: bool = True
    peer: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(most_mails=None))

    def quit(self) -> None:
        self.usable = False


class Sessions(SessionPool):
    """Every host greets after a moment."""

    def __init__(self, most: int) -> None:
        async def addresses(host: str, family: object) -> tuple[str, ...]:
            return (host,)

        router = cast("Router", SimpleNamespace(addresses=addresses))
        super().__init__(router, Delivery(sessions_per_destination=most))

    async def dial(self, source: Source, host: str, address: str, deadline: float) -> Session:
        await asyncio.sleep(CONNECT_SECONDS)
        now = asyncio.get_running_loop().time()
        return cast("Session", _Open(address, now, now))


class Relay:
    """`lanes`: new mail goes there, and what crowds the front is moved there. `fewest_free`: hands of the front that were free at any time."""

    def __init__(self, *, lanes: bool, sessions: int = 20) -> None:
        self.lanes = lanes
        self.delivered: list[tuple[Mail, float]] = []
        self.accepted: Counter[Peer] = Counter()
        self.moved = self.deferred = self.open = 0
        self.empty = asyncio.Event()
        self.fewest_free = HANDS
        self._queues: dict[int, asyncio.Queue[Mail]] = {each: asyncio.Queue() for each in PLACES}
        self._hands = Hands(HANDS)
        self._pool = Sessions(sessions)
        self._source = Source("pod", "", "relay.test")
        self._write_at = 0.0

    def put(self, peer: Peer, *, place: int | None = None) -> None:
        """Accept a mail; `place`: where it lies then, whatever is used."""
        mail = Mail(peer, self._now)
        self.accepted[peer] += 1
        self.open += 1
        self.empty.clear()
        self._lay(mail, (peer.lane if self.lanes else FRONT) if place is None else place)

    async def run(self) -> None:
        """For ever: to be cancelled."""
        async with asyncio.TaskGroup() as takers:
            for each in PLACES:
                takers.create_task(self._take(each))
            takers.create_task(self._sweep())

    def _lay(self, mail: Mail, place: int) -> None:
        mail.place = place
        self._queues[place].put_nowait(mail)

    async def _take(self, place: int) -> None:
        while True:
            await self._hands.of(place).room.wait()
            mail = await self._queues[place].get()
            # What came from here keeps a hand of this place until it is done, also after it was moved on.
            held = cast("Held", _Held(place))
            self._hands.take(held, self._handle(mail, held))
            if place == FRONT:
                self.fewest_free = min(self.fewest_free, HANDS - self._hands.of(place).taken)

    async def _handle(self, mail: Mail, held: Held) -> None:
        if self.lanes and leads_to(mail.place, mail.peer.lane):
            if self._hands.of(mail.place).crowded_by(mail.peer.lane):
                await self._move(mail)
                return
            self._hands.bind(held, mail.peer.lane)
            try:
                await self._deliver(mail)
            finally:
                self._hands.end(held)
            return
        await self._deliver(mail)

    async def _move(self, mail: Mail) -> None:
        self.moved += 1
        self._write_at = max(self._write_at, self._now) + 1 / MOVES_A_SECOND
        await asyncio.sleep(self._write_at - self._now + MOVE_SECONDS)
        self._lay(mail, mail.peer.lane)

    async def _deliver(self, mail: Mail) -> None:
        destination = self._pool.destination(self._source, Route((mail.peer.name,), (mail.peer.name,)))
        try:
            session = await destination.acquire(self._now + BUSY_SECONDS)
        except BusyError:
            self._defer(mail)
            return
        began, signal = self._now, Signal.BROKEN
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                await mail.peer.take()
            signal = Signal.WELL
        except TimeoutError:
            cast("Any", session).usable = False
        session.mails += 1
        destination.give_back(session)
        destination.hear(signal, began)
        if signal is Signal.BROKEN:
            self._defer(mail)
            return
        self.delivered.append((mail, self._now))
        self.open -= 1
        if not self.open:
            self.empty.set()

    def _defer(self, mail: Mail) -> None:
        self.deferred += 1
        asyncio.get_running_loop().call_later(DEFERRED_SECONDS, self._lay, mail, FRONT)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(5.0)
            self._pool.sweep()

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def arrive(relay: Relay, peer: Peer, rate: float, seconds: float, chance: Random) -> None:
    """Mail for a peer at random (Poisson), so many a second, for so long."""
    loop = asyncio.get_running_loop()
    until, at = loop.time() + seconds, loop.time()
    while (at := at + chance.expovariate(rate)) < until:
        await asyncio.sleep(at - loop.time())
        relay.put(peer)


def waits(relay: Relay, peers: list[Peer]) -> list[float]:
    """Seconds from acceptance to delivery of the mail of these peers, in order; what was not delivered is not among them."""
    wanted = set(peers)
    return sorted(at - mail.put_at for mail, at in relay.delivered if mail.peer in wanted)
