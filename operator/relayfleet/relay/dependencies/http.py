"""Does a URL answer? The first line says it, so no more is read."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from relayfleet import __version__
from relayfleet.protocol.dependency import HttpTarget, Trust
from relayfleet.relay.dependencies.outcome import Failed
from relayfleet.relay.dependencies.reaching import Names, Reach, Stage, distrusted
from relayfleet.relay.dependencies.trust import Authorities

MOST_BYTES = 4096
"""Longest first line."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")


class HttpProbe:
    """GET over a connection of its own each time, so that the whole way is tried."""

    def __init__(self, target: HttpTarget, names: Names, folder: Path) -> None:
        parts = urlsplit(target.url)
        secure, host = parts.scheme == "https", parts.hostname or ""
        trust = target.trust or Trust()
        self._reach = Reach(names, host, parts.port or (443 if secure else 80))
        self._authorities = Authorities(trust, folder) if secure else None
        self._name = trust.server_name or host
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: relayfleet/{__version__}\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        ).encode("ascii")

    async def ask(self, stage: Stage) -> None:
        """Raises Failed and NotAsked."""
        context = self._authorities.context() if self._authorities else None
        reader = asyncio.StreamReader(limit=MOST_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await self._reach.connect(lambda: protocol, stage)
        writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
        try:
            await self._converse(reader, writer, context)
        except ssl.SSLError as error:
            raise distrusted(error, self._name) from error
        except OSError as error:
            raise Failed(f"ended the connection: {error.strerror or error}") from error
        finally:
            writer.transport.abort()
            transport.abort()  # under TLS that is not written to any more, the one below

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext | None
    ) -> None:
        if context is not None:
            await writer.start_tls(context, server_hostname=self._name)
        writer.write(self._request)
        try:
            line = await reader.readline()
        except ValueError as error:
            raise Failed(f"answers with a line of more than {MOST_BYTES} bytes, which is no HTTP") from error
        status = _STATUS.fullmatch(line)
        if status is None:
            raise Failed("ended the connection without an answer" if not line else "answers something that is no HTTP")
        if not 200 <= int(status[1]) < 400:
            raise Failed(f"answers with status {int(status[1])}")

    def close(self) -> None:
        """Nothing is kept."""
