"""Watches one broker: connect, log in, publish to a canary once an interval; and after a few seconds from the beginning, so that connecting
is proven as well.

One thing at a time, so there is one connection and one channel. What does not answer for `SUSPECT_AFTER` is stated as a silence, and again
every `GAP` while it lasts. At its deadline the connection is left and a new one is tried: one that is answered tells more than an old one that
is not. A trouble lasts from the first question without a confirm until the next confirm, whatever is tried meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import time
import zlib
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.dial import Address, Login, connect
from relayfleet.amqp.errors import AmqpError, ConnectionLost, NotFound, Returned
from relayfleet.observe.probing.brokersighting import WHY, BrokerSighting, kind_of
from relayfleet.observe.probing.canary import Canary
from relayfleet.observe.probing.perches import Perches
from relayfleet.observe.probing.pulse import Pulse
from relayfleet.protocol.brokerprobing import CANARY, MOST_WHY, BrokerTarget, Kind, Step

log = logging.getLogger(__name__)

LIFE = 5.0
"""Seconds after which a connection that works is replaced by a new one."""
SUSPECT_AFTER, GAP = 0.25, 0.25
"""Ten times what a confirm takes on disks of spinning metal; and the time between two words about a silence."""
MAKING, MOVING = 45.0, 3.0
"""Seconds for a canary to be made on all brokers: with one of them standing still it takes fifteen to seventeen, so a silence of that is told only
then; and for another one when there is one already."""
OFTEN, OFTEN_FOR = 0.25, 3.0
"""Between two attempts at the beginning of a trouble, and how long that lasts; then it is once an interval."""
PATIENCE = 5.0
"""The longest deadline in a trouble that lasts."""
ALLOWANCE = 64 * 1024
"""Bytes that a broker may send in a life: a hundred times what it says."""
LONGEST = 600.0
"""No deadline of its own: the watcher has them all."""
HEARTBEAT = 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Around:
    """What the watchers of one prober share. `phase`: probers that are told the same shall not look at the same time (0 to 1)."""

    report: Callable[[BrokerSighting], None]
    pulse: Pulse
    phase: float


class _Given(Exception):  # noqa: N818 - it states what was done
    """The deadline is over; all is told."""


class BrokerWatcher:
    """Probes from its creation until `close`."""

    def __init__(self, target: BrokerTarget, around: Around, tls: ssl.SSLContext | None) -> None:
        self.target = target
        self._around, self._tls = around, tls
        self._since: float | None = None
        self._connection: Connection | None = None
        host = target.server_name.partition(".")[0]
        # Another watcher's canary may be led by any broker, so each has names of its own.
        self._perches = Perches(f"{CANARY}{host}.{secrets.token_hex(4)}")
        share = zlib.crc32(target.key.encode()) / 2**32
        self._offset = (share + around.phase) % 1.0 * target.interval
        self._task = asyncio.create_task(self._run(), name=f"broker {target.key}")

    def close(self) -> None:
        """Leave the connection and stop. The canary goes by itself."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._until_next())
            try:
                await self._once()
            except _Given:
                pass
            except Exception:
                log.exception("broker %s: a fault of ours; probing goes on", self.target.key)

    async def _once(self) -> None:
        """One connection from beginning to end."""
        step: Step = "Connect"
        try:
            connection, latency = await self._answer(step, self._connect(), self.target.connect_timeout)
            step = "Publish"
            self._report("Answered", "Connect", latency=latency, since=self._since)
            await self._use(connection)
            await connection.close()
        except AmqpError as error:
            self._tell_error(step, error)
        finally:
            if self._connection is not None:  # also when it came in the moment in which nobody waited any more
                self._connection.lose(ConnectionLost("left"))
                self._connection = None

    async def _connect(self) -> Connection:
        self._connection = await self._dial(LONGEST)
        return self._connection

    async def _dial(self, timeout: float) -> Connection:
        target = self.target
        return await connect(
            Address(target.host, target.port),
            Login(target.username, target.password, target.vhost, "relayfleet prober"),
            timeout,
            tls=self._tls,
            server_name=target.server_name,
            heartbeat=HEARTBEAT,
            allowance=ALLOWANCE,
        )

    async def _use(self, connection: Connection) -> None:
        """Publish until the connection's life is over, or until it is found to be of no use."""
        ends = time.monotonic() + LIFE
        try:
            await self._sing(await self._sitting(connection), connection, ends)
        except (NotFound, Returned):
            self._perches.gone()  # it is made anew with the next connection

    async def _sing(self, canary: Canary, connection: Connection, ends: float) -> None:
        while True:
            _, latency = await self._answer("Publish", canary.sing(), self.target.confirm_timeout, connection)
            self._confirmed(latency)
            if (wait := self._until_next()) > ends - time.monotonic():
                return
            await asyncio.sleep(wait)

    def _confirmed(self, latency: float) -> None:
        now = time.monotonic()
        if self._since is not None:
            self._perches.trouble_over(now - self._since, now)
        self._since = None
        self._report("Answered", "Publish", latency=latency)

    async def _sitting(self, connection: Connection) -> Canary:
        """A canary that is there."""
        perches, now = self._perches, time.monotonic()
        if self._since is None and perches.should_move(now):
            return await self._move(connection)
        canary = self._canary(connection, perches.name)
        if perches.made(now):
            await self._answer("Publish", canary.sit(), self.target.confirm_timeout, connection)
        else:
            await self._make(canary, connection)
        perches.sits(time.monotonic())
        return canary

    async def _make(self, canary: Canary, connection: Connection) -> None:
        """Wait for it, and knock meanwhile: a prober that hears nothing of any broker for so long would count as blind, and the one broker for which
        the making waits would not be named."""
        suspect_after = MAKING if self._since is None else SUSPECT_AFTER
        knocking = asyncio.create_task(self._knock(), name=f"broker {self.target.key}, knocking")
        try:
            await self._answer("Publish", canary.make(), MAKING, connection, suspect_after)
        finally:
            knocking.cancel()

    async def _knock(self) -> None:
        """Tell of a new connection once an interval. One that fails is not told of: whether the canary is made in time says more."""
        while True:
            await asyncio.sleep(self._until_next())
            sent = time.monotonic()
            with suppress(AmqpError):
                connection = await self._dial(self.target.connect_timeout)
                latency = self._around.pulse.arrival(sent, time.monotonic()) - sent
                self._report("Answered", "Connect", latency=latency, since=self._since)
                await connection.close()

    async def _move(self, connection: Connection) -> Canary:
        canary = self._canary(connection, self._perches.other)
        self._perches.stays(time.monotonic())
        try:
            async with asyncio.timeout(MOVING):
                await canary.make()
        except (TimeoutError, AmqpError) as error:
            log.info("broker %s: its canary stays where it is: %s", self.target.key, error or "no answer in time")
            raise _Given from error
        self._perches.moved(time.monotonic())
        return canary

    def _canary(self, connection: Connection, name: str) -> Canary:
        return Canary(connection, name, self.target.replicas, LONGEST)

    async def _answer(
        self,
        step: Step,
        work: Coroutine[Any, Any, T],
        deadline: float,
        connection: Connection | None = None,
        suspect_after: float = SUSPECT_AFTER,
    ) -> tuple[T, float]:
        """The answer and its latency; silences are told meanwhile. The longer a trouble lasts, the longer a deadline is: a broker that is slow, and
        not silent, has to be able to answer at all. Raises what the work raises, and _Given at the deadline. Time in which this process
        was away does not count."""
        sent = time.monotonic()
        deadline = max(deadline, min(self._lasting(sent), PATIENCE))
        task = asyncio.create_task(work)
        try:
            while True:
                await asyncio.wait([task], timeout=GAP)
                now = time.monotonic()
                if task.done():
                    return task.result(), self._around.pulse.arrival(sent, now) - sent
                if self._around.pulse.just_back(now):
                    sent = now
                    self._since = None if self._since is None else now
                elif now - sent >= suspect_after:
                    self._tell_silence(step, sent, connection)
                if now - sent >= deadline:
                    raise _Given
        finally:
            task.cancel()

    def _tell_silence(self, step: Step, sent: float, connection: Connection | None) -> None:
        if connection is not None and connection.blocked:
            self._report("Blocked", step, why="an alarm of the brokers keeps records out")
            return
        self._trouble(sent)
        self._report("Silent", step, since=self._since, why=WHY["Silent", step])

    def _tell_error(self, step: Step, error: AmqpError) -> None:
        kind = kind_of(error)
        if kind is None:
            return  # this machine's own trouble says nothing about the broker
        if kind != "Denied":
            self._trouble(time.monotonic())
        why = WHY.get((kind, step)) or " ".join(str(error).split())[:MOST_WHY]
        self._report(kind, step, since=self._since, why=why)

    def _lasting(self, now: float) -> float:
        return 0.0 if self._since is None else now - self._since

    def _trouble(self, began: float) -> None:
        self._since = began if self._since is None else self._since

    def _report(
        self, kind: Kind, step: Step, *, latency: float = 0.0, since: float | None = None, why: str = ""
    ) -> None:
        now = time.monotonic()
        self._around.report(BrokerSighting(self.target.key, kind, step, now, latency, since, why))

    def _until_next(self) -> float:
        """Seconds until the next beat, or until the next attempt while a trouble is young."""
        now, interval = time.monotonic(), self.target.interval
        if self._since is not None and now - self._since < OFTEN_FOR:
            return min(OFTEN, interval)
        return interval - (now - self._offset) % interval
