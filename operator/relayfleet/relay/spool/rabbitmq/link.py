"""A link: one connection that is kept up, for ever, in the background.

It goes round the broker's addresses, starting with its own preferred one, prepares each new connection (`prepare`: queues, channels), and when
that is lost for any reason begins again, after a pause that grows and is jittered so that a pool's relays do not return in step.
`why` says at any time, in words for a human, why the link is down; `address` (host:port) is the node that it is, or was last, at.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from relayfleet.amqp.channel import Channel
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.dial import Address, Login, connect, tls_context
from relayfleet.amqp.errors import AccessRefused, AmqpError, ConnectionLost
from relayfleet.protocol.relay_config import Broker

CONNECT_TIMEOUT = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 3.0
REFUSED_PAUSE = 0.6
"""The longest pause while the broker refuses our user: it is made when the operator sees our pod, and given back as soon as a relay that was cut
off answers again. Either should not be waited for."""

SILENT = 1.2
"""Seconds without a byte, with an answer overdue, after which a connection is cut."""

_STEADY = 5.0
"""A connection that lived so many seconds was a good one: the next pause is the first one again."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Target:
    """Where and as whom to connect. All of it is read anew for each attempt: `broker` may be replaced, credentials and CA are rotated."""

    broker: Broker
    credentials: Callable[[], tuple[str, str]]
    ca_file: str | None = None
    name: str = "relayfleet"

    async def dial(self, address: Address, purpose: str) -> Connection:
        """A connection to one node. Raises ConnectError or OSError (unreadable credentials)."""
        username, password = self.credentials()
        login = Login(username, password, self.broker.vhost, f"{self.name} {purpose}")
        tls = tls_context(self.ca_file) if self.broker.tls else None
        return await connect(address, login, CONNECT_TIMEOUT, tls=tls, server_name=self.broker.server_name)

    async def dial_others(self, connection: Connection, purpose: str) -> list[Connection]:
        """Connections to all nodes but the one of `connection`. Raises ConnectError when one of them cannot be reached."""
        addresses = [Address.parse(each) for each in self.broker.addresses]
        dials = [asyncio.ensure_future(self.dial(each, purpose)) for each in addresses if str(each) != connection.peer]
        try:
            return await asyncio.gather(*dials)
        except BaseException:  # who is cancelled here, too, leaves no connection behind that was there already
            await _drop(dials)
            raise

    def address(self, number: int) -> Address:
        """A node; counting goes round. Raises ValueError when what stands there is no address."""
        return Address.parse(self.broker.addresses[number % len(self.broker.addresses)])


async def _drop(dials: Sequence[asyncio.Future[Connection]]) -> None:
    for each in dials:
        each.cancel()
    for found in await asyncio.gather(*dials, return_exceptions=True):
        if isinstance(found, Connection):
            found.lose(ConnectionLost("not needed"))


class Link:
    """Keeps one connection up. `prepare` makes it useful and returns the channel whose loss ends it; `down` hears of the end."""

    def __init__(
        self,
        target: Target,
        purpose: str,
        first: int,
        prepare: Callable[[Connection], Awaitable[Channel]],
        down: Callable[[], None],
    ) -> None:
        self._target = target
        self._purpose = purpose
        self._turn = first
        self._prepare = prepare
        self._down = down
        self._task: asyncio.Task[None] | None = None
        self.connection: Connection | None = None
        self.address = ""
        self.why = "not connected yet"
        self._refused = False

    def start(self) -> None:
        """Begin; `stop` ends it."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"broker link {self._purpose}")

    async def stop(self) -> None:
        """Close the connection and try no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        if self.connection is not None:
            await self.connection.close()
            self._went_down("stopped")

    def begin_again(self, why: str) -> None:
        """Drop the connection and make a new one."""
        if self.connection is not None:
            self.connection.lose(ConnectionLost(why))

    def cut_if_frozen(self, overdue: float) -> None:
        """Drop a connection that owes an answer for `overdue` seconds and has sent nothing meanwhile: its node is frozen or gone, and another
        one answers sooner than the heartbeat would tell. A blocked connection owes nothing."""
        if self.connection is None or self.connection.blocked or overdue <= SILENT:
            return
        silence = time.monotonic() - self.connection.last_received
        if silence > SILENT:
            self.begin_again(f"an answer is overdue and nothing was heard from the broker for {silence:.1f} s")

    async def _run(self) -> None:
        failures = 0
        while True:
            began, refused = time.monotonic(), self._refused
            why = await self._once()
            failures = 1 if time.monotonic() - began > _STEADY else failures + 1
            if why != self.why and not (refused and self._refused):
                log.warning("broker %s: %s", self._purpose, why)
            self._went_down(why)
            self._turn += 1
            await asyncio.sleep(_pause(failures, REFUSED_PAUSE if self._refused else _LONGEST_PAUSE))

    async def _once(self) -> str:
        """Connect and stay; returns why it ended."""
        self._refused = False
        try:
            address = self._target.address(self._turn)
            self.address = str(address)
            self.connection = await self._target.dial(address, self._purpose)
            channel = await self._prepare(self.connection)
            self.why = ""
            log.info("broker %s: connected to %s", self._purpose, address)
            return str(await asyncio.shield(channel.lost))
        except AccessRefused as error:
            self._refused = True  # by whichever node: they have the same users
            return str(error)
        except (AmqpError, OSError, ValueError) as error:
            return str(error)
        except Exception as error:
            log.exception("broker %s: a fault of ours; the link goes on", self._purpose)
            return repr(error)

    def _went_down(self, why: str) -> None:
        self.why = why
        if self.connection is not None:
            self.connection.lose(AmqpError(why))
            self.connection = None
            self._down()


def _pause(failures: int, most: float) -> float:
    longest: float = min(most, _FIRST_PAUSE * 2.0 ** (failures - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
