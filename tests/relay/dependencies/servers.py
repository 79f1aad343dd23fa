"""Servers on loopback that answer, refuse, hang, or never end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from relayfleet.relay.dependencies.outcome import Outcome
from relayfleet.relay.dependencies.watcher import Probe, Watcher
from tests.fakes import ports

PATIENCE = 20.0
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """What it heard, and how many bytes its kernel took from it."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    sent: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/healthz"


@contextlib.asynccontextmanager
async def serving(answer: Answer, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Answers each connection, until the block ends."""
    found = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        found.connections += 1
        try:
            await answer(reader, writer)
        except OSError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(meet, "127.0.0.1", port, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0.01)  # what was aborted is closed in the next turns of the loop


def saying(data: bytes, heard: list[bytes] | None = None) -> Answer:
    """Reads a request and says this."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(request)
        writer.write(data)
        await writer.drain()

    return answer


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing, ever."""
    await asyncio.Event().wait()


def babbling(data: bytes, count: list[int]) -> Answer:
    """Says this again and again, as fast as it is taken; `count[0]` are the bytes that it could write."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)
        while True:
            writer.write(data)
            await writer.drain()
            count[0] += len(data)

    return answer


@contextlib.contextmanager
def unanswering() -> Iterator[str]:
    """An address whose kernel lets no more connections in: SYNs are dropped, as by a host that is off."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        where = listening.getsockname()
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(where)
        deadline = time.monotonic() + PATIENCE
        while not _is_full(listening):
            assert time.monotonic() < deadline, "its kernel still lets connections in"
            time.sleep(0.001)
        yield f"127.0.0.1:{where[1]}"


def _is_full(listening: socket.socket) -> bool:
    """Whether more connections wait to be accepted than may. What was sent arrives some time later."""
    waiting, most = struct.unpack_from("II", listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 24)
    return bool(waiting > most)


def closed_port() -> int:
    """A port at which nobody listens."""
    return ports.unused()[0]


async def outcome(probe: Probe, timeout: float = 5.0) -> Outcome:
    """What one probe with this deadline comes to. A deadline that was noticed too late is no outcome: it is asked again, as relays do."""
    watcher = Watcher(probe, 60.0, timeout, lambda: None)
    async with asyncio.timeout(PATIENCE):
        while (found := await watcher._outcome()) is None:
            pass
    return found


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition()` holds; it looks at the other side of a socket."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + PATIENCE
    while not condition():
        assert loop.time() < ends, f"never: {what}"
        await asyncio.sleep(0.005)
