"""The sink as a whole: SMTP on any number of ports, one script, one memory of what came, and a control service over HTTP."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.sink import records
from tests.sink.actions import Action, Stage
from tests.sink.blocks import Blocks
from tests.sink.body import Body
from tests.sink.control import Control
from tests.sink.records import Envelope
from tests.sink.rules import Facts
from tests.sink.script import Script
from tests.sink.session import Session

DEEDS_MAX = 500_000
RAW_BYTES_MAX = 256 * 1024**2
SWEEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """Ports 0: any free one. Sizes in bytes, times in seconds. `tls`: certificate and key; None: no STARTTLS."""

    host: str | None = None
    smtp_ports: tuple[int, ...] = (25,)
    http_port: int = 8025
    name: str = "sink.example.test"
    tls: ssl.SSLContext | None = None
    keep: int = 2_000_000
    keep_raw: int = 0
    spill: Path | None = None
    message_bytes: int = 64 * 1024**2
    sessions: int = 10_000
    idle: float = 600.0


@dataclass(slots=True)
class Totals:
    """Messages, accepted recipients and bytes since the last `forget`; times in Unix seconds. `deeds`: their number back then."""

    deeds: int = 0
    messages: int = 0
    recipients: int = 0
    bytes: int = 0
    first: float | None = None
    last: float | None = None


class Sink:
    """Use as `async with Sink(Options(...)) as sink`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.name = options.name
        self.message_bytes = options.message_bytes
        self.script = Script()
        self.messages = Blocks(options.keep, options.spill)
        self.deeds = Blocks(DEEDS_MAX)
        self._raw: deque[tuple[int, bytes]] = deque()
        self._raw_bytes = 0
        self._sessions: set[Session] = set()
        self._sessions_ever = 0
        self._servers: list[asyncio.Server] = []
        self._totals = Totals()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for port in self.options.smtp_ports:
            server = await loop.create_server(lambda: Session(self), self.options.host, port, backlog=1024)
            self._servers.append(server)
        control = await asyncio.start_server(Control(self).serve, self.options.host, self.options.http_port)
        self._servers.append(control)
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sweeper.cancel()
        for server in self._servers:
            server.close()
        for session in list(self._sessions):
            session.transport.abort()
        await asyncio.gather(self._sweeper, return_exceptions=True)
        self.messages.close()

    @property
    def smtp_ports(self) -> list[int]:
        """The ports that are listened on."""
        return [server.sockets[0].getsockname()[1] for server in self._servers[:-1]]

    @property
    def http_port(self) -> int:
        port: int = self._servers[-1].sockets[0].getsockname()[1]
        return port

    # What a session needs

    def find(self, stage: Stage, facts: Facts, recipients: Sequence[str]) -> Action | None:
        action = self.script.find(stage, facts, recipients)
        if action:
            self.deeds.append(records.deed(self.deeds.next, facts, stage, action, recipients))
        return action

    def new_body(self) -> Body:
        return Body(self.message_bytes, keep=self.options.keep_raw > 0)

    @property
    def offers_tls(self) -> bool:
        return self.options.tls is not None

    async def secure(self, transport: asyncio.Transport, session: asyncio.Protocol) -> asyncio.Transport:
        assert self.options.tls is not None
        loop = asyncio.get_running_loop()
        secured = await loop.start_tls(transport, session, self.options.tls, server_side=True, ssl_handshake_timeout=30)
        if secured is None:
            raise ConnectionResetError("lost during the TLS handshake")
        return secured

    def store(self, facts: Facts, envelope: Envelope, body: Body, answered: bool) -> int:
        number = self.messages.next
        self.messages.append(records.message(number, facts, envelope, body, answered))
        totals = self._totals
        totals.messages += 1
        totals.recipients += len(envelope.addresses)
        totals.bytes += body.size
        totals.last = time.time()
        totals.first = totals.first or totals.last
        if (raw := body.raw) is not None:
            self._keep_raw(number, raw)
        return number

    def opened(self, session: Session) -> int:
        if len(self._sessions) >= self.options.sessions:
            raise ConnectionRefusedError("too many sessions")
        self._sessions.add(session)
        self._sessions_ever += 1
        return self._sessions_ever

    def closed(self, session: Session) -> None:
        self._sessions.discard(session)

    # What the control service needs

    def stats(self) -> dict[str, object]:
        """Counts since the last `forget`; sessions since the start; times in Unix seconds, None before the first message."""
        return {
            "messages": self._totals.messages,
            "recipients": self._totals.recipients,
            "bytes": self._totals.bytes,
            "deeds": self.deeds.next - self._totals.deeds,
            "sessions_open": len(self._sessions),
            "sessions": self._sessions_ever,
            "first": self._totals.first,
            "last": self._totals.last,
            "oldest_kept": self.messages.first,
            "next": self.messages.next,
        }

    def raw(self, number: int) -> bytes | None:
        """The message as it came, if it is among those that are kept."""
        return next((raw for kept, raw in self._raw if kept == number), None)

    def forget(self) -> None:
        """Forget messages, deeds and counts; numbers go on."""
        self.messages.clear()
        self.deeds.clear()
        self._raw.clear()
        self._raw_bytes = 0
        self._totals = Totals(deeds=self.deeds.next)

    def _keep_raw(self, number: int, raw: bytes) -> None:
        self._raw.append((number, raw))
        self._raw_bytes += len(raw)
        while len(self._raw) > self.options.keep_raw or self._raw_bytes > RAW_BYTES_MAX:
            self._raw_bytes -= len(self._raw.popleft()[1])

    async def _sweep(self) -> None:
        """End sessions whose client has said nothing for long."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            oldest = loop.time() - self.options.idle
            for session in [each for each in self._sessions if each.awaited and each.idle_since < oldest]:
                session.say(b"421 4.4.2 idle for too long\r\n")
                session.leave()
                session.work()
