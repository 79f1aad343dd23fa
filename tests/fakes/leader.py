"""A leading operator as a relay meets it: its CA, certificates in files, and one connection over real TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from relayfleet.act.authority import new_authority, new_certificate
from relayfleet.protocol import telemetry
from relayfleet.protocol.telemetry import SERVER_NAME, Hello, Window, Word

PATIENCE = 20.0


class Authority:
    """The operator's CA. `mount` is what a relay's pod gets, `client` what a leader connects with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now = datetime.datetime.now(datetime.UTC)
        self._certificate, self._key = new_authority("control", self._now)
        folder.mkdir()

    def mount(self, folder: Path) -> Path:
        """Write a relay's three files."""
        folder.mkdir(exist_ok=True)
        certificate, key = self._issue("relay", client=False)
        for name, text in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", self._certificate)):
            (folder / name).write_text(text)
        return folder

    def client(self, *, client: bool = True) -> ssl.SSLContext:
        """For a connection; `client` False: with a certificate that vouches for servers only, such as relays have."""
        files = self._folder / "leader.crt", self._folder / "leader.key"
        for path, text in zip(files, self._issue("leader", client=client), strict=True):
            path.write_text(text)
        context = ssl.create_default_context(cadata=self._certificate)
        context.load_cert_chain(*files)
        return context

    def _issue(self, name: str, *, client: bool) -> tuple[str, str]:
        return new_certificate(self._certificate, self._key, name, [SERVER_NAME], self._now, client=client)


class Leader:
    """One connection to a relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, *words: Word | bytes) -> None:
        self.writer.write(b"".join(each if isinstance(each, bytes) else telemetry.encode(each) for each in words))

    async def hear(self) -> Window:
        """The next window."""
        line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
        assert line, "the relay closed the connection"
        return telemetry.decode_window(line)

    async def ended(self) -> bool:
        """The relay closes the connection; whatever it said before is passed over."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(OSError):
                while await self.reader.readline():
                    pass
        return True


@asynccontextmanager
async def leading(port: int, context: ssl.SSLContext, *words: Word | bytes) -> AsyncIterator[Leader]:
    """Connect and say these words."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=SERVER_NAME)
    leader = Leader(reader, writer)
    leader.say(*words)
    try:
        yield leader
    finally:
        writer.transport.abort()


@asynccontextmanager
async def led(port: int, context: ssl.SSLContext, epoch: int = 1) -> AsyncIterator[Leader]:
    """Connect as the leader `leader`, and have heard the first window."""
    async with leading(port, context, Hello("leader", epoch)) as leader:
        await leader.hear()
        yield leader
