"""Simulated relays: one process that answers SMTP at many addresses. Arguments: port, first and last address, address of a
broker, folder with the certificates of a pool's control port.

Each relay has a listening socket of its own, so that one can die: `down ADDRESS` resets its sessions and refuses new ones, `up ADDRESS`
brings it back. Every order is answered by its moment (CLOCK_MONOTONIC, seconds).
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import sys
import time
from collections import defaultdict
from ipaddress import IPv4Address

import uvloop

from relayfleet.protocol import telemetry
from relayfleet.relay.control.keys import Keys
from tests.bench._prober_target import Target
from tests.bench._scale_control import Control, keys

BROKER_PORT = 5672
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: the end of a socket is a reset."""


class Session(Target):
    """Says yes to everything, for one relay."""

    def __init__(self, sessions: set[asyncio.Transport]) -> None:
        self._sessions = sessions

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sessions.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sessions.discard(self._transport)


class Relays:
    """By address. `port`: of SMTP."""

    def __init__(self, port: int, keys: Keys) -> None:
        self._port, self._keys = port, keys
        self._servers: defaultdict[str, list[asyncio.Server]] = defaultdict(list)
        self._sessions: defaultdict[str, set[asyncio.Transport]] = defaultdict(set)

    async def up(self, address: str) -> None:
        """Serve mail and the leader."""
        sessions, loop = self._sessions[address], asyncio.get_running_loop()
        self._servers[address] = [
            await loop.create_server(lambda: Session(sessions), address, self._port, backlog=64),
            await loop.create_server(lambda: Control(sessions), address, telemetry.PORT, ssl=self._keys.context()),
        ]

    def down(self, address: str) -> None:
        """Refuse from now on, and reset who is there."""
        for server in self._servers.pop(address):
            server.close()
        for each in tuple(self._sessions[address]):
            _reset(each)


def _reset(transport: asyncio.Transport) -> None:
    copy = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    copy.close()
    transport.abort()


async def main(port: int, addresses: list[str], broker: str, folder: str) -> None:
    """Until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    relays, loop = Relays(port, keys(folder)), asyncio.get_running_loop()
    for address in addresses:
        await relays.up(address)
    listener = await loop.create_server(asyncio.Protocol, broker, BROKER_PORT)
    print("up", flush=True)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async for line in orders:
        word, address = line.decode().split()
        now = time.monotonic()
        await relays.up(address) if word == "up" else relays.down(address)
        print(now, flush=True)
    listener.close()


def between(first: str, last: str) -> list[str]:
    """All addresses from the first to the last."""
    return [str(IPv4Address(number)) for number in range(int(IPv4Address(first)), int(IPv4Address(last)) + 1)]


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), between(sys.argv[2], sys.argv[3]), *sys.argv[4:6]))
