"""Connections through a Service, and where they arrive: ten listening relays and their clients in one process, so one clock tells all."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

from relayfleet.children.relay import names

AT_ONCE = 32
"""Connections open at the same time; fewer than any backlog, so none is lost on the way in."""

DEADLINE = 5.0
"""Seconds for one connection, from its SYN to the relay's first byte."""

_RESET = struct.pack("ii", 1, 0)


class Arrivals:
    """Every accepted connection: when (time.monotonic) and at which address."""

    def __init__(self) -> None:
        self.log: list[tuple[float, str]] = []

    def counts(self, since: int) -> Counter[str]:
        """Connections by address from the entry number `since` of the log on."""
        return Counter(address for _, address in itertools.islice(self.log, since, None))

    def last(self, addresses: Iterable[str]) -> float | None:
        """When one of these addresses last accepted a connection."""
        chosen = set(addresses)
        return next((at for at, address in reversed(self.log) if address in chosen), None)


class _Relay(asyncio.Protocol):
    """Says one byte, so that the client knows that the connection has been counted."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._arrivals.log.append((time.monotonic(), transport.get_extra_info("sockname")[0]))
        cast("asyncio.WriteTransport", transport).write(b"2")  # uvloop's is one in all but name


@asynccontextmanager
async def listening(addresses: Sequence[str]) -> AsyncIterator[Arrivals]:
    """Relays at these addresses, on the port of each lane of one listener."""
    arrivals, loop = Arrivals(), asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for address, lane in itertools.product(addresses, range(names.LANES)):
            port = names.listener_port(0, lane)
            await stack.enter_async_context(await loop.create_server(lambda: _Relay(arrivals), address, port))
        yield arrivals


async def connections(target: tuple[str, int], more: Callable[[], bool]) -> Counter[str]:
    """Connect to `target` again and again while `more()`, in AT_ONCE strands; returns the connections that failed, by error."""
    return sum(await asyncio.gather(*(_strand(target, more) for _ in range(AT_ONCE))), Counter[str]())


async def _strand(target: tuple[str, int], more: Callable[[], bool]) -> Counter[str]:
    failed = Counter[str]()
    while more():
        try:
            async with asyncio.timeout(DEADLINE):
                await _connect(target)
        except OSError as error:  # TimeoutError is one
            failed[f"{type(error).__name__} {error}".strip()] += 1
    return failed


async def _connect(target: tuple[str, int]) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        # Closing resets: no port waits for a minute in TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        await loop.sock_connect(sock, target)
        if not await loop.sock_recv(sock, 1):
            raise ConnectionError("closed before the relay's byte")
