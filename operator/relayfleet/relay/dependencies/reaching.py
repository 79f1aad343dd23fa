"""Getting to a target: its name, a connection, TLS; and how far a probe has come, so that a deadline can say what took too long."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from relayfleet.relay.dependencies.outcome import Failed, Kind, Outcome

P = TypeVar("P", bound=asyncio.BaseProtocol)

_THREADS = 32
"""Two for each dependency that a pool may declare: one name that hangs holds up no other one."""


@dataclass(slots=True)
class Stage:
    """How far one probe has come."""

    doing: str = "to look up its name"
    connecting: bool = False

    def connect(self) -> None:
        """The name is known."""
        self.doing, self.connecting = "to connect", True

    def ask(self) -> None:
        """The connection is there."""
        self.doing, self.connecting = "to answer", False

    def overdue(self, timeout: float) -> Outcome:
        """The deadline has come."""
        kind = Kind.TIMED_OUT_CONNECTING if self.connecting else Kind.FAILED
        return Outcome(kind, f"took more than {timeout:g} s {self.doing}")


class Names:
    """Looks up names in threads of its own, since the brokers' names wait for others. A look-up that goes on when its probe is over is waited
    for by the next one, or a resolver that hangs would get one more for each."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "dependency-names")
        self._pending: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    def close(self) -> None:
        """Begin no more look-ups."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Its addresses, at least one. Raises Failed."""
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        try:
            return await asyncio.shield(self._lookup(host, port))
        except (OSError, UnicodeError) as error:
            raise Failed(f"its name {host} does not resolve: {getattr(error, 'strerror', None) or error}") from error

    def _lookup(self, host: str, port: int) -> asyncio.Future[list[str]]:
        key = (host, port)
        if key not in self._pending:
            self._pending[key] = found = asyncio.get_running_loop().run_in_executor(self._threads, _resolve, host, port)
            found.add_done_callback(lambda done: self._done(key, done))
        return self._pending[key]

    def _done(self, key: tuple[str, int], done: asyncio.Future[list[str]]) -> None:
        del self._pending[key]
        if not done.cancelled():
            done.exception()  # it may have nobody left to hear it


class Reach:
    """The way to one host and port."""

    def __init__(self, names: Names, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._names = names

    async def connect(self, factory: Callable[[], P], stage: Stage) -> tuple[asyncio.Transport, P]:
        """A connection to the first of its addresses that takes one. Raises Failed."""
        stage.doing = "to look up its name"
        hosts = await self._names.addresses(self.host, self.port)
        stage.connect()
        loop = asyncio.get_running_loop()
        for host in hosts:
            try:
                connection = await loop.create_connection(factory, host, self.port)
            except OSError as error:
                if host == hosts[-1]:
                    raise Failed(f"cannot be connected to: {error.strerror or error}") from error
            else:
                stage.ask()
                return connection
        raise Failed("its name has no addresses")


def split(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises ValueError."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def distrusted(error: ssl.SSLError, name: str) -> Failed:
    """What a failed handshake says."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failed(f"its certificate is not valid for {name}: {error.verify_message}")
    return Failed(f"no TLS with it: {error.reason or error}")


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))
