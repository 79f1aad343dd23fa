"""A running server on loopback, and a client that says exactly the bytes it is told to say."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relayfleet.protocol.relay_config import Broker, Limits, Listener, RelayConfig, TlsMode
from relayfleet.relay.discard import Discard
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.server import SmtpServer
from relayfleet.relay.server.allowances import Allowances
from relayfleet.relay.spool.interface import Spool
from relayfleet.relay.spool.record import Record
from tests.fakes.spool import MemorySpool

LOOPBACK = ("127.0.0.0/8",)
NOWHERE = Path("/nonexistent")
PATIENCE = 20.0


@dataclass
class GateSpool(MemorySpool):
    """Confirms nothing until `opened` is set; `asked` is set when a record is on its way."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, record: Record) -> None:
        self.asked.set()
        await self.opened.wait()
        await MemorySpool.put(self, record)


def config(
    *,
    tls: TlsMode = "None",
    limits: Limits | None = None,
    allowed: Sequence[str] = LOOPBACK,
    proxies: Sequence[str] = (),
    publish_timeout: float = 60.0,
    ports: tuple[int, ...] = (0,),
) -> RelayConfig:
    """One listener, `smtp`, on a port that the system chooses. The queue has time: how long busy cores keep a test from opening a gate says nothing of
    it."""
    return RelayConfig(
        pool="mail/test",
        region="eu",
        broker=Broker(addresses=("broker:5671",), publish_timeout=publish_timeout),
        listeners=(Listener("smtp", ports, tls),),
        allowed_networks=tuple(allowed),
        proxy_sources=tuple(proxies),
        limits=limits or Limits(),
    )


@contextlib.asynccontextmanager
async def serving(
    settings: RelayConfig | None = None,
    spool: Spool | None = None,
    *,
    auth_folder: Path = NOWHERE,
    tls_folder: Path = NOWHERE,
    discard: Discard | None = None,
    defers_for: Callable[[], str] = str,
    address: str = "127.0.0.1",
    allowances: Allowances | None = None,
    scavenger: Scavenger | None = None,
) -> AsyncIterator[SmtpServer]:
    """A started server; stopped in the end."""
    server = SmtpServer(
        settings or config(),
        spool or MemorySpool(),
        "relay.example",
        auth_folder=auth_folder,
        tls_folder=tls_folder,
        discard=discard,
        defers_for=defers_for,
        address=address,
        tick=0.02,
        failure_delay=0.0,
        allowances=allowances,
        scavenger=scavenger,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@dataclass
class Client:
    """Says bytes, reads replies. Every wait is bounded, so that a silent server fails the test."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        """Write without waiting."""
        self.writer.write(data)

    async def reply(self) -> bytes:
        """The next reply with all its lines, or what came before the end of the stream."""
        lines = b""
        while True:
            line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
            lines += line
            if line[3:4] != b"-":
                return lines

    async def say(self, line: bytes) -> bytes:
        """One command, its reply."""
        self.send(line + b"\r\n")
        return await self.reply()

    async def rest(self) -> bytes:
        """Everything up to the end of the stream, however it ends."""
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(-1), PATIENCE)
        return b""

    async def hello(self, name: bytes = b"client.example") -> bytes:
        return await self.say(b"EHLO " + name)

    async def envelope(self, recipient: bytes = b"you@there.example") -> None:
        """EHLO (unless it was said), MAIL, RCPT, DATA: the server waits for the message."""
        for line in (b"EHLO client.example", b"MAIL FROM:<me@here.example>", b"RCPT TO:<" + recipient + b">"):
            answer = await self.say(line)
            assert answer.startswith(b"250"), answer
        assert (await self.say(b"DATA")).startswith(b"354")

    async def start_tls(self, context: ssl.SSLContext, name: str | None = "127.0.0.1") -> None:
        await self.writer.start_tls(context, server_hostname=name)

    async def close(self) -> None:
        """Go without waiting for what is still unsent."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(
    server: SmtpServer, *, greeted: bool = True, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Client]:
    """A connection; `greeted`: the banner was read."""
    port = server.ports["smtp"][0]
    client = Client(*await asyncio.open_connection(host, port, ssl=tls, limit=2**20))
    try:
        if greeted:
            banner = await client.reply()
            assert banner.startswith(b"220 relay.example "), banner
        yield client
    finally:
        await client.close()


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition()` holds; it looks at the other side of a socket."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + PATIENCE
    while not condition():
        assert loop.time() < ends, f"never: {what}"
        await asyncio.sleep(0.005)
