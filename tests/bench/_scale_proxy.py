"""A proxy in front of the API server that can freeze one watch: its connection stays open, and nothing comes through it any more.

It ends TLS, so that it can read which request a connection carries, and asks the API server as the user of a kubeconfig.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.bench import _scale_net
from tests.bench._apiserver import ApiServer, server_tls
from tests.e2e.api import Access

_REQUEST = re.compile(rb"\A(?:GET|PUT|POST|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")


@dataclass(slots=True, eq=False)
class Connection:
    """`path`: of its latest request; `began`: when that came (monotonic)."""

    path: str = ""
    began: float = 0.0
    passes: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Proxy:
    """`url`: where it serves."""

    def __init__(self, behind: Access) -> None:
        self._behind, self.url = behind, ""
        self._connections: list[Connection] = []

    def watches(self, plural: str, since: float = float("-inf")) -> list[Connection]:
        """Connections that have carried the watch of a kind since then."""
        found = (each for each in self._connections if "watch=true" in each.path and each.began > since)
        return [each for each in found if urlsplit(each.path).path.endswith(f"/{plural}")]

    def freeze(self, plural: str) -> float:
        """Freeze the latest watch of a kind; returns when."""
        self.watches(plural)[-1].passes.clear()
        return time.monotonic()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        connection = Connection()
        connection.passes.set()
        self._connections.append(connection)
        place = urlsplit(self._behind.url)
        with contextlib.suppress(OSError):
            up, down = await asyncio.open_connection(place.hostname, place.port, ssl=self._behind.tls)
            pumps = (_pump(reader, down, connection, asked=True), _pump(up, writer, connection, asked=False))
            connection.tasks = [asyncio.create_task(each) for each in pumps]
            await asyncio.wait(connection.tasks, return_when=asyncio.FIRST_COMPLETED)
            await _over(connection, down)
        writer.close()

    async def close(self) -> None:
        """End all connections."""
        tasks = [task for each in self._connections for task in each.tasks]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _over(connection: Connection, down: asyncio.StreamWriter) -> None:
    for each in connection.tasks:
        each.cancel()
    await asyncio.gather(*connection.tasks, return_exceptions=True)
    down.close()


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, connection: Connection, *, asked: bool
) -> None:
    while data := await source.read(1 << 16):
        if asked and (request := _REQUEST.match(data)):
            connection.path, connection.began = request[1].decode(), time.monotonic()
        await connection.passes.wait()
        sink.write(data)
        await sink.drain()


@asynccontextmanager
async def proxy(server: ApiServer, user: str) -> AsyncIterator[Proxy]:
    """Serves while the block runs."""
    found = Proxy(server.access(user))
    serving = await asyncio.start_server(found.carry, _scale_net.API, 0, ssl=server_tls(server, _scale_net.API))
    host, port = serving.sockets[0].getsockname()[:2]
    found.url = f"https://{host}:{port}"
    try:
        yield found
    finally:
        serving.close()
        await found.close()
