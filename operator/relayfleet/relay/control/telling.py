"""The windows that go to one leader, over one connection.

A leader that does not read gets less, not later: what waits in a buffer grows old, and its ages become wrong. So little is given to the
transport, the window that cannot be told goes on and grows, and a leader that reads nothing for long is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relayfleet.protocol.telemetry import PERIOD, encode
from relayfleet.relay.control.windows import Windows

FULL = 64 * 1024
"""So many bytes that the leader has not read are enough."""
DEAF = 5.0
"""A leader that leaves so much unread for so many seconds is left."""


class Telling:
    """Tells from its creation until `close`. `deaf` hears that the leader is left because it does not read."""

    def __init__(self, transport: asyncio.WriteTransport, windows: Windows, deaf: Callable[[], None]) -> None:
        self._transport = transport
        self._windows = windows
        self._deaf = deaf
        self._loop = asyncio.get_running_loop()
        self._deaf_since: float | None = None
        self._urgent = True
        self._windows.begin(self._loop.time())
        self._timer: asyncio.Handle = self._loop.call_soon(self._tick)

    def tell(self) -> None:
        """A window in this turn of the loop, whether anything happened or not."""
        if not self._urgent:
            self._urgent = True
            self._timer.cancel()
            self._timer = self._loop.call_soon(self._tick)

    def close(self) -> None:
        """Close the connection."""
        self._timer.cancel()
        self._transport.abort()

    def _tick(self) -> None:
        at_once, self._urgent = self._urgent, False
        now = self._loop.time()
        self._timer = self._loop.call_at(now + PERIOD, self._tick)
        if self._reads(now) and (window := self._windows.next(now, at_once=at_once)) is not None:
            self._transport.write(encode(window))

    def _reads(self, now: float) -> bool:
        """Whether the leader keeps up; leaves one that does not for long."""
        if self._transport.is_closing():
            return False
        if self._transport.get_write_buffer_size() <= FULL:
            self._deaf_since = None
            return True
        if self._deaf_since is None:
            self._deaf_since = now
        elif now - self._deaf_since > DEAF:
            self._deaf()
            self.close()
        return False
