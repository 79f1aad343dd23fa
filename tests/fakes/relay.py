"""A relay as a leader meets it: a TLS server that keeps what it is told and says what a test wants."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from relayfleet.act import authority
from relayfleet.kube.client import Object
from relayfleet.protocol import telemetry
from relayfleet.protocol.telemetry import SERVER_NAME, Hello, Order, Window, Word


class FakeRelay:
    """`heard`: what it was told, on each connection. `operators` is the Secret with the CA of the operator's replicas."""

    def __init__(self, operators: Object, folder: Path, name: str = SERVER_NAME) -> None:
        self.heard: list[list[Word]] = []
        self._writers: list[asyncio.StreamWriter] = []
        ca, ca_key = (base64.b64decode(operators["data"][key]).decode() for key in ("ca.crt", "ca.key"))
        now = datetime.datetime.now(datetime.UTC)
        files = folder / "relay.crt", folder / "relay.key", folder / "relay-ca.crt"
        for path, text in zip(files, (*authority.new_certificate(ca, ca_key, "tx", [name], now), ca), strict=True):
            path.write_text(text)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls.verify_mode = ssl.CERT_REQUIRED
        self._tls.load_cert_chain(*files[:2])
        self._tls.load_verify_locations(files[2])

    @property
    def orders(self) -> list[Order]:
        """All orders, in their order."""
        return [word for words in self.heard for word in words if isinstance(word, Order)]

    @property
    def hellos(self) -> list[Hello]:
        """All introductions."""
        return [word for words in self.heard for word in words if isinstance(word, Hello)]

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._writers)

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[int]:
        """The port it listens on."""
        server = await asyncio.start_server(self._meet, "127.0.0.1", port, ssl=self._tls)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.hang_up()

    def say(self, *windows: Window | bytes) -> None:
        """On all connections. Bytes are said as they are."""
        for writer in self._writers:
            writer.write(b"".join(each if isinstance(each, bytes) else telemetry.encode(each) for each in windows))

    def hang_up(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words: list[Word] = []
        self.heard.append(words)
        self._writers.append(writer)
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                words.append(telemetry.decode_word(line))
        self._writers.remove(writer)
        writer.close()
