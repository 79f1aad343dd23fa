"""The listening sockets: all ports of all listeners, opened and closed as the configuration says, without touching the others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from relayfleet.protocol.relay_config import Listener, TlsMode

BACKLOG = 1024


class ListenError(OSError):
    """A port cannot be listened on; the text says which and why."""


class Listeners:
    """`connect` makes the protocol of a new connection, for the TLS mode of its listener. `address` "" means all, IPv4 and IPv6."""

    def __init__(self, connect: Callable[[TlsMode], asyncio.Protocol], address: str = "") -> None:
        self._connect = connect
        self._address = address
        self._open: dict[tuple[str, int], tuple[int, TlsMode, asyncio.Server]] = {}

    @property
    def ports(self) -> dict[str, tuple[int, ...]]:
        """The ports in use by listener; tells which one the system chose for port 0."""
        found: dict[str, tuple[int, ...]] = {}
        for (name, _), (_, _, server) in sorted(self._open.items()):
            found[name] = (*found.get(name, ()), server.sockets[0].getsockname()[1])
        return found

    async def apply(self, listeners: Sequence[Listener]) -> None:
        """Close what is not wanted any more and open what is new. Raises ListenError after all others were opened."""
        wanted = {(each.name, lane): (port, each.tls) for each in listeners for lane, port in enumerate(each.ports)}
        for key, (port, tls, server) in tuple(self._open.items()):
            if wanted.get(key) != (port, tls):
                server.close()
                del self._open[key]
        failed = []
        for key, (port, tls) in wanted.items():
            if key in self._open:
                continue
            try:
                self._open[key] = (port, tls, await self._listen(port, tls))
            except OSError as error:
                failed.append(f"listener {key[0]} cannot use port {port}: {error}")
        if failed:
            raise ListenError("; ".join(failed))

    def close(self) -> None:
        """Listen no more; open connections stay."""
        for _, _, server in self._open.values():
            server.close()
        self._open.clear()

    async def _listen(self, port: int, tls: TlsMode) -> asyncio.Server:
        # Bound by hand: one socket for both families, and no failure where a node has IPv6 switched off.
        sock = _bind(self._address, port)
        return await asyncio.get_running_loop().create_server(lambda: self._connect(tls), sock=sock, backlog=BACKLOG)


def _bind(address: str, port: int) -> socket.socket:
    if not address and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server((address, port), backlog=BACKLOG)
