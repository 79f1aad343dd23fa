"""The event loop that asyncpg is given: the real one, but for how connections are made.

asyncpg looks up names, names the host in TLS and reads without end, each in its own way. Here names are looked up as for other probes, the
certificate is checked for the name that was declared, and a server that talks without end is cut off: a message of PostgreSQL may
announce two gigabytes, and as many would be kept until it is whole.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from relayfleet.relay.dependencies.reaching import Reach, Stage

MOST_BYTES = 1024 * 1024
"""Read for one probe; the longest row that a query may answer with."""


class Wire:
    """For one connection. Everything that is not about connections is asked of the running loop."""

    def __init__(self, reach: Reach, stage: Stage, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._reach, self._stage, self._name = reach, stage, name
        self._left = MOST_BYTES
        self._closed = False
        self._transports: list[asyncio.Transport] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def refill(self) -> None:
        """Another probe begins."""
        self._left = MOST_BYTES

    def close(self) -> None:
        """Close what was opened, and open nothing more: not even to cancel a query, which ends with its connection."""
        self._closed = True
        for each in self._transports:
            each.abort()

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """As the loop's, to the target alone. Raises Failed."""
        if self._closed:
            raise ConnectionAbortedError("the probe is over")
        transport, counted = await self._reach.connect(lambda: _Counted(factory(), self._spend), self._stage)
        self._transports.append(transport)
        return transport, counted.inner

    async def start_tls(
        self, transport: asyncio.Transport, protocol: asyncio.Protocol, context: ssl.SSLContext, **_: Any
    ) -> asyncio.Transport | None:
        """As the loop's, for the declared name."""
        return await self._loop.start_tls(transport, protocol, context, server_hostname=self._name)

    def _spend(self, size: int) -> bool:
        self._left -= size
        return self._left >= 0


class _Counted(asyncio.Protocol):
    """Hands on what comes while `spend` allows it, then ends the connection. Under TLS, whose peer has shown who it is, asyncpg takes its
    place."""

    def __init__(self, inner: asyncio.Protocol, spend: Callable[[int], bool]) -> None:
        self.inner = inner
        self._spend = spend
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._spend(len(data)):
            self.inner.data_received(data)
        elif self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def eof_received(self) -> bool | None:
        return self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)
