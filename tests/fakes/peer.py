"""Peers that misbehave: a raw server whose every session is a coroutine of the test, on an address of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

EHLO = b"250-peer.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE\r\n"


@dataclass(eq=False)
class Talk:
    """One session as the test sees it: `hear` a line, `say` bytes, `hear_mail` up to the dot."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[str] = field(default_factory=list)

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self) -> str:
        line = (await self.reader.readline()).decode()
        if not line:
            raise ConnectionResetError
        self.heard.append(line.removesuffix("\r\n"))
        return self.heard[-1]

    async def hear_mail(self) -> bytes:
        return await self.reader.readuntil(b"\r\n.\r\n")

    async def greet(self, ehlo: bytes = EHLO) -> None:
        self.say(b"220 peer.test ESMTP\r\n")
        await self.hear()
        self.say(ehlo)

    def reset(self) -> None:
        """RST instead of FIN."""
        self.writer.transport.abort()


Behaviour = Callable[[Talk], Awaitable[None]]


@dataclass(eq=False)
class Peer:
    """A running peer; `talks` holds its sessions in order."""

    address: str
    port: int
    talks: list[Talk] = field(default_factory=list)


@asynccontextmanager
async def peer(
    behaviour: Behaviour, address: str = "127.0.0.1", port: int = 0, limit: int = 64 * 1024 * 1024
) -> AsyncIterator[Peer]:
    """Serve every session with `behaviour`; when that ends, the connection is closed. So many bytes, and twice as many at most, are taken from
    the socket before the behaviour asks for them."""
    sessions: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        sessions.add(task)
        talk = Talk(reader, writer)
        running.talks.append(talk)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behaviour(talk)
        writer.close()

    server = await asyncio.start_server(serve, address, port, limit=limit)
    running = Peer(address, server.sockets[0].getsockname()[1])
    try:
        yield running
    finally:
        server.close()
        for task in sessions:
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
