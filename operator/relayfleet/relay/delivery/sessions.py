"""Open sessions, kept and shared: a pool for each source and destination (set of mail exchangers).

A session carries mail after mail, and how many of them there are follows what the destination stands (`concurrency`). A destination that never
answered gets one caller at a time, the others wait for its fate, and an address that refused or let us wait is not called again for a minute: a dead
host costs one wait a minute, not one a mail. An address at which other sessions of ours are open has only had enough of them: that is no mail's
failure, and each waits for its turn in those that are open.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from relayfleet.protocol.relay_config import Delivery, Source
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.delivery.concurrency import Concurrency, Signal
from relayfleet.relay.delivery.connecting import Target, open_session, opportunistic_context
from relayfleet.relay.delivery.errors import (
    BusyError,
    LocalError,
    PeerTimeoutError,
    RefusedError,
    SmtpError,
    TlsError,
    is_silence,
)
from relayfleet.relay.delivery.session import Session
from relayfleet.relay.delivery.sources import family_of
from relayfleet.relay.delivery.telling import count_attempt
from relayfleet.relay.routing.errors import DnsError, DnsPermanent
from relayfleet.relay.routing.router import Route, Router

SKIP_SECONDS = 60.0
PLAIN_SECONDS = 600.0
"""So long a host whose handshake failed is called in plain at once."""
IDLE_SECONDS = 20.0
AGE_SECONDS = 300.0
"""After this a session is replaced, so that a better host or a changed MX is noticed."""
MOST_ADDRESSES = 6
MARKS = 20_000


@dataclass(slots=True)
class _Mark:
    until: float
    error: SmtpError


class Marks:
    """Addresses that failed lately, by source: what one address of ours cannot reach, another may."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, str], _Mark] = {}

    def put(self, source: Source, address: str, error: SmtpError) -> None:
        if len(self._marks) >= MARKS:
            self._marks.clear()  # at worst some hosts are called once more
        self._marks[source.name, address] = _Mark(_now() + SKIP_SECONDS, error)

    def get(self, source: Source, address: str) -> SmtpError | None:
        mark = self._marks.get((source.name, address))
        return mark.error if mark is not None and _now() < mark.until else None

    def clear(self, source: Source, address: str) -> None:
        self._marks.pop((source.name, address), None)


class _Failure(NamedTuple):
    """Why an address, or a host, was of no use in one attempt; `marked`: it was not called, and this is from a mark."""

    error: SmtpError | DnsError
    marked: bool = False


class Watcher(Protocol):
    """Hears whether destinations (`Route.key`) are reached."""

    def reached(self, destination: tuple[str, ...]) -> None:
        """Somebody there answered."""
        ...

    def missed(self, destination: tuple[str, ...], why: str) -> None:
        """A mail reached nobody there."""
        ...


class Nobody:
    """Fits Watcher, and does not care."""

    def reached(self, destination: tuple[str, ...]) -> None:
        return

    def missed(self, destination: tuple[str, ...], why: str) -> None:
        return


@dataclass(slots=True)
class PoolCounters:
    """For metrics: connections tried, failed, skipped by a mark; sessions opened, of these with TLS; handshakes that failed."""

    dialed: int = 0
    failed: int = 0
    skipped: int = 0
    opened: int = 0
    encrypted: int = 0
    handshakes_failed: int = 0


class SessionPool:
    """All sessions of this relay. `settings` may be replaced at any time; open sessions end by their own limits."""

    def __init__(self, router: Router, settings: Delivery, tally: Tally | None = None) -> None:
        self.router = router
        self.settings = settings
        self.tally = tally or Tally()
        self.marks = Marks()
        self.watcher: Watcher = Nobody()
        self.counters = PoolCounters()
        self.context: ssl.SSLContext = opportunistic_context()
        self._plain_until: dict[str, float] = {}
        self._destinations: dict[tuple[str, str | None, tuple[str, ...]], Destination] = {}

    def destination(self, source: Source, route: Route) -> Destination:
        """The sessions from this source to this set of hosts."""
        key = source.name, source.bind_address, route.key
        found = self._destinations.get(key)
        if found is None:
            found = self._destinations[key] = Destination(self, source, route)
        found.source, found.route = source, route
        return found

    def sweep(self) -> None:
        """Close what was idle too long, forget destinations without sessions. To be called every few seconds."""
        for key, destination in list(self._destinations.items()):
            destination.close_idle(IDLE_SECONDS)
            if destination.unused:
                del self._destinations[key]

    def close(self) -> None:
        """Take leave of all idle peers."""
        for destination in self._destinations.values():
            destination.close_idle(0.0)

    async def dial(self, source: Source, host: str, address: str, deadline: float) -> Session:
        """A session with TLS when possible, else in plain. Raises SmtpError."""
        self.counters.dialed += 1
        target = Target(host, address, self.settings.port)
        now = time.monotonic()
        if now >= self._plain_until.get(host, 0.0):
            try:
                return await open_session(target, source, self.context, deadline)
            except TlsError:
                self.counters.handshakes_failed += 1
                self._plain_until[host] = now + PLAIN_SECONDS
        return await open_session(target, source, None, deadline)


@dataclass(eq=False, slots=True)
class Destination:
    """The sessions from one source to one set of mail exchangers."""

    pool: SessionPool
    source: Source
    route: Route
    open: int = 0
    concurrency: Concurrency = field(default_factory=Concurrency)
    _opening: int = 0
    _at: Counter[str] = field(default_factory=Counter)
    _idle: list[Session] = field(default_factory=list)
    _waiters: deque[asyncio.Future[None]] = field(default_factory=deque)

    @property
    def unused(self) -> bool:
        """Nothing is open, and nothing is known that must not be forgotten."""
        return not self.open and not self._waiters and not self.concurrency.is_held(_now())

    @property
    def limit(self) -> int:
        """How many sessions it may have now."""
        return self.concurrency.limit(self.pool.settings.sessions_per_destination)

    async def acquire(self, deadline: float) -> Session:
        """A session for one transaction; give it back. `deadline` is loop time. Raises SmtpError or DnsError: nobody there."""
        while True:
            while self._idle:
                if (session := self._idle.pop()).usable:
                    return session
                self._drop(session)
            if not self._may_open():
                await self._wait(deadline)
            elif (opened := await self._open(deadline)) is not None:
                return opened

    def give_back(self, session: Session) -> None:
        """For the next one, or to its end when it is broken, has served enough, or is one too many."""
        now = _now()
        most = min(self.pool.settings.messages_per_session, session.peer.most_mails or 1_000_000)
        fresh = session.mails < most and now - session.opened_at < AGE_SECONDS
        if session.usable and fresh and self.open <= self.limit:
            session.used_at = now
            self._idle.append(session)
        else:
            self._drop(session)
        if self._idle or self._may_open():
            self._wake(1)

    def hear(self, signal: Signal, began: float) -> None:
        """Learn from an attempt that began at `began` (loop time)."""
        most, before = self.pool.settings.sessions_per_destination, self.limit
        match signal:
            case Signal.WELL:
                self.pool.watcher.reached(self.route.key)
                self.concurrency = self.concurrency.raised(self.open, most, _now())
            case Signal.STRAIN:
                self.concurrency = self.concurrency.halved(began, most, _now())
            case Signal.BROKEN:
                self.concurrency = self.concurrency.lessened(most)
        if self.limit > before:
            self._wake(1)

    def timed_out(self, session: Session, error: PeerTimeoutError) -> None:
        """Its address is not called for a while, unless other sessions are open there. To be told before it is given back."""
        if self._at[session.address] <= 1:
            self.pool.marks.put(self.source, session.address, error)

    def close_idle(self, seconds: float) -> None:
        """End the sessions that were idle for so long."""
        now = _now()
        kept = [session for session in self._idle if session.usable and now - session.used_at < seconds]
        for session in set(self._idle) - set(kept):
            self._drop(session)
        self._idle = kept

    def _drop(self, session: Session) -> None:
        self.open -= 1
        self._at[session.address] -= 1
        if not self._at[session.address]:
            del self._at[session.address]
        session.quit()

    @property
    def _proven(self) -> bool:
        """Some session is open, in use or idle."""
        return self.open > self._opening

    def _may_open(self) -> bool:
        return self.open < self.limit and (self._proven or not self._opening)

    async def _open(self, deadline: float) -> Session | None:
        """A new one; None: the peer has had enough of those that are open, and there are no more of them from now on."""
        self.open += 1
        self._opening += 1
        try:
            session = await self._try_hosts(deadline)
        except BaseException as error:
            self.open -= 1
            self._opening -= 1
            if self._proven and isinstance(error, SmtpError) and not isinstance(error, LocalError):
                self.concurrency = self.concurrency.capped(self.open, _now())
                return None
            if not self._proven:
                self._wake(len(self._waiters))  # the next one calls; the mark of the address answers for it
            elif self._may_open():
                self._wake(1)  # the place is free again
            raise
        self._opening -= 1
        self.pool.watcher.reached(self.route.key)
        self._at[session.address] += 1
        self._wake(self.limit - self.open)
        self.pool.counters.opened += 1
        self.pool.counters.encrypted += session.tls
        return session

    def _tell(self, failures: Sequence[_Failure]) -> None:
        """Only of what was called now: a mark is up to a minute old. But nobody is missed where a mark says that somebody was there."""
        called, marked = ([each.error for each in failures if each.marked is by] for by in (False, True))
        if any(isinstance(each, RefusedError) for each in called):
            self.pool.watcher.reached(self.route.key)
            return
        seen = [each for each in called if isinstance(each, SmtpError)]
        others = [each for each in marked if not is_silence(each)]
        if seen and all(map(is_silence, seen)) and not others and not self._proven:
            self.pool.watcher.missed(self.route.key, seen[0].text)

    async def _try_hosts(self, deadline: float) -> Session:
        failures: list[_Failure] = []
        tries = MOST_ADDRESSES
        for host in self.route.hosts:
            try:
                addresses = await self.pool.router.addresses(host, family_of(self.source))
            except DnsError as error:
                failures.append(_Failure(error))
                continue
            for address in addresses[:tries]:
                tries -= 1
                session = await self._try_address(host, address, deadline, failures)
                if session is not None:
                    return session
        self._tell(failures)
        # Of two that tell as much the better host's, also when that is a mark.
        raise max((each.error for each in failures), key=_weight).with_traceback(None)

    async def _try_address(self, host: str, address: str, deadline: float, failures: list[_Failure]) -> Session | None:
        if (known := self.pool.marks.get(self.source, address)) is not None:
            self.pool.counters.skipped += 1
            failures.append(_Failure(known, marked=True))
            return None
        try:
            session = await self.pool.dial(self.source, host, address, deadline)
        except LocalError:
            raise
        except SmtpError as error:
            self.pool.counters.failed += 1
            count_attempt(self.pool.tally, self.source.name, host, error)
            if not self._at[address]:
                self.pool.marks.put(self.source, address, error)
            failures.append(_Failure(error))
            return None
        self.pool.marks.clear(self.source, address)
        return session

    async def _wait(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_at(deadline, _give_up, waiter)
        try:
            await waiter
        except BaseException:
            with suppress(ValueError):
                self._waiters.remove(waiter)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._wake(1)  # the turn was ours, and we do not take it
            raise
        finally:
            timer.cancel()

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1


def _now() -> float:
    return asyncio.get_running_loop().time()


def _give_up(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(BusyError("local", "all sessions to this destination stayed busy"))


def _weight(failure: SmtpError | DnsError) -> int:
    """Of several failures the one that tells most: what a peer said, then what the network did, then DNS."""
    if isinstance(failure, RefusedError):
        return 3
    if isinstance(failure, SmtpError):
        return 2
    return 0 if isinstance(failure, DnsPermanent) else 1
