"""The leader's link to one relay: windows come in, orders go out, and what is lost is dialled again.

Orders are level-triggered. The wanted stand is said on every connection, when it changes, and when a window shows another one; so it does not
matter which word was lost. A link that is down says nothing of its relay, which may be older than this protocol: no evidence comes of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Protocol, cast

from relayfleet.controllers.evidence import PoolName
from relayfleet.protocol.telemetry import (
    MOST_BYTES,
    Order,
    PoolUsage,
    TelemetryError,
    Usage,
    Usages,
    Window,
    decode_window,
    encode,
)
from relayfleet.protocol.usage import Unsaid

log = logging.getLogger(__name__)

FIRST, LONGEST = 0.2, 5.0
"""Seconds between two dials, doubled from the one to the other, with jitter."""
SELDOM = 30.0
"""Thereafter, for a relay that never spoke: it has no control port."""
AGAIN = 1.0
"""An order that a relay does not show is said again after so many seconds."""
RATE = 20.0
"""So many windows a second are taken, and so many at once; a relay says five."""
FLOOD = 1000
"""Who says so many more in a second is hung up on: even to pass them over is work."""
SILENCE = 30.0
"""A link is given up when nothing came for so long, by then the other end has no connection any more. Not sooner: a relay that stood still reads
its orders as soon as it wakes up."""
SHARE = 0.5
"""Seconds between two words to a relay on what all relays took from credentials with limits; that is how far relays lie behind each other, and some more."""
SHARES = 500.0
"""So many of these words a second to all relays together: a large fleet lies further behind, and costs the leader no more."""
UNREAD = 64 * 1024
"""Bytes of orders that a relay leaves unread."""


class Desk(Protocol):
    """Where a link reports."""

    hello: bytes

    @property
    def share(self) -> float:
        """Seconds between two words to one relay on its credentials."""

    def dial(self, link: Link) -> None:
        """Connect it, and call `unreached` if that fails."""

    def take(self, pool: PoolName, relay: str, window: Window) -> None:
        """A window."""

    def usage(self, pool: PoolName, relay: str, last: Usages, /) -> tuple[Usage, ...]:
        """What a relay should know of its credentials with limits, of which it has said this last."""

    def count(self, pool: PoolName, outcome: str) -> None:
        """What became of a line: taken, dropped or garbled."""


class Link:
    """One relay by its pod's name and address. `up`: it has spoken on a connection that is there."""

    def __init__(self, pool: PoolName, relay: str, host: str, desk: Desk) -> None:
        self.pool, self.relay, self.host = pool, relay, host
        self.up = self.closed = False
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._order: Order | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wait = FIRST
        self._spoke = False
        self._heard = self._said = self._refilled = self._loop.time()
        self._allowance = RATE
        self._dropped = 0
        self._usage: Usages | None = None
        self._unsaid = Unsaid()
        self._shared = float("-inf")

    def order(self, order: Order | None) -> None:
        """What the relay should be told from now on; None: nothing."""
        before, self._order = self._order, order
        if order is None or (before is not None and before.stand is order.stand):
            return
        self._say()
        if self._timer is not None:
            self._wait = FIRST
            self._dial()  # a relay that should serve again must not wait for its order

    def close(self) -> None:
        """For good."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection; another one follows unless the link is closed."""
        if self._transport is not None:
            self._transport.abort()

    def look(self, now: float) -> None:
        """Whether the other end is still there, and keeps within bounds. Call it once a second."""
        if self._transport is None:
            return
        if self._dropped > FLOOD:
            self.give_up("it floods")
        elif now - self._heard > SILENCE or self._transport.get_write_buffer_size() > UNREAD:
            self.hang_up()
        self._dropped = 0

    def give_up(self, why: str) -> None:
        """It says what it should not: hang up, and wait long."""
        log.warning("relay %s (%s) of %s/%s: %s", self.relay, self.host, *self.pool, why)
        self._wait = LONGEST
        self.hang_up()

    # What dialling and the connection tell.

    def unreached(self, error: Exception) -> None:
        """Nobody answers, or not as a relay of ours."""
        log.debug("relay %s (%s) of %s/%s: %r", self.relay, self.host, *self.pool, error)
        if self._transport is None:  # else it came in the last moment, and is being closed
            self._later()

    def met(self, transport: asyncio.Transport) -> None:
        """There is a connection."""
        self._transport = transport
        self._heard = self._loop.time()
        if self.closed:
            self.hang_up()
            return
        self._usage, self._unsaid = None, Unsaid()
        transport.write(self._desk.hello)
        self._say()

    def lost(self) -> None:
        """There is no connection any more."""
        if self.up and not self.closed:
            log.info("relay %s (%s) of %s/%s: link is lost", self.relay, self.host, *self.pool)
        self._transport, self.up = None, False
        self._later()

    def heard(self, line: bytes) -> None:
        """One line."""
        self._heard = now = self._loop.time()
        if not self._within_rate(now):
            self._dropped += 1
            self._desk.count(self.pool, "dropped")
            return
        try:
            window = decode_window(line)
        except TelemetryError as error:
            self.garbled(str(error))
            return
        self.up = self._spoke = True
        self._wait = FIRST
        self._desk.count(self.pool, "taken")
        self._desk.take(self.pool, self.relay, window)
        if window.usage is not None:
            self._usage = window.usage
            self._unsaid.unsay(window.usage.rows)
        self._share(now)
        if self._order is not None and window.stand is not self._order.stand and now - self._said >= AGAIN:
            self._say()

    def garbled(self, what: str) -> None:
        """Something that is no line of a relay's."""
        self._desk.count(self.pool, "garbled")
        self.give_up(what)

    def _say(self) -> None:
        if self._transport is not None and self._order is not None:
            self._said = self._loop.time()
            self._transport.write(encode(self._order))

    def _share(self, now: float) -> None:
        """Only to a relay that has spoken of it on this connection: an older one would hang up."""
        if self._usage is None or self._transport is None or now - self._shared < self._desk.share:
            return
        self._shared = now  # also when there is nothing to say: to find that out is most of the work
        day = self._usage.day
        if rows := self._unsaid.pick(day, self._desk.usage(self.pool, self.relay, self._usage)):
            self._unsaid.say(day, rows)
            self._transport.write(encode(PoolUsage(day, rows)))

    def _within_rate(self, now: float) -> bool:
        self._allowance = min(RATE, self._allowance + (now - self._refilled) * RATE)
        self._refilled = now
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def _later(self) -> None:
        if self.closed:
            return
        wait = SELDOM if self._wait >= LONGEST and not self._spoke else self._wait
        self._wait = min(LONGEST, self._wait * 2)
        self._timer = self._loop.call_later(wait * random.uniform(0.8, 1.2), self._dial)  # noqa: S311

    def _dial(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._desk.dial(self)


class Conversation(asyncio.Protocol):
    """One connection of a link: bytes to lines."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._rest = b""
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """After the handshake."""
        self._transport = transport
        self._link.met(cast("asyncio.Transport", transport))

    def connection_lost(self, exc: Exception | None) -> None:
        """The end."""
        self._link.lost()

    def data_received(self, data: bytes) -> None:
        """Whole lines go to the link; a line that has no end soon enough is none."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self._over():
                return
            self._link.heard(line)
        if not self._over() and len(self._rest) > MOST_BYTES:
            self._link.garbled(f"a line of more than {MOST_BYTES} bytes")

    def _over(self) -> bool:
        return self._transport is None or self._transport.is_closing()
