"""One TCP connection of a prober: a non-blocking socket in the event loop, with or without TLS, without a task.

Sockets instead of the loop's transports for three reasons: the exact error decides what was seen; a socket can be looked at in the
moment before a silence is stated; and all is closed when `close` returns.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import select
import socket
import ssl
from enum import Enum
from typing import Protocol

from relayfleet.observe.probing.tls import Layer
from relayfleet.protocol.probing import Target

_CHUNK = 16 * 1024
_UNKNOWN = b"PROXY UNKNOWN\r\n"
"""A PROXY header for nobody: a balancer's own health check."""


class Loss(Enum):
    """How a connection ended."""

    REFUSED = "nothing listens"
    RESET = "reset or closed by the peer, or the peer speaks something else"
    TURNED_AWAY = "closed in good order instead of a TLS handshake"
    UNREACHABLE = "no way to the peer, or no sign of it"
    LOCAL = "this machine could not"


_CAUSES = {
    errno.ECONNREFUSED: Loss.REFUSED,
    errno.ECONNRESET: Loss.RESET,
    errno.ECONNABORTED: Loss.RESET,
    errno.EPIPE: Loss.RESET,
    errno.EHOSTUNREACH: Loss.UNREACHABLE,
    errno.ENETUNREACH: Loss.UNREACHABLE,
    errno.EHOSTDOWN: Loss.UNREACHABLE,
    errno.ENETDOWN: Loss.UNREACHABLE,
    errno.ETIMEDOUT: Loss.UNREACHABLE,
}


class Owner(Protocol):
    """Whom a wire tells. Nothing is told within the wire's constructor, and nothing after `close`."""

    def moved(self) -> None:
        """The peer did its part of connecting, and we sent the next of ours."""

    def received(self, data: bytes) -> None:
        """Plain text came."""

    def lost(self, loss: Loss) -> None:
        """The connection has ended; the wire is closed."""


class Wire:
    """Connects to a target at once. `context` None: without TLS."""

    def __init__(self, target: Target, context: ssl.SSLContext | None, owner: Owner) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._proxy_sources = target.proxy_sources
        self._layer = None if context is None else Layer(context)
        self._connecting = True
        self._socket: socket.socket | None = None
        family = socket.AF_INET6 if ipaddress.ip_address(target.host).version == 6 else socket.AF_INET
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._socket.connect_ex((target.host, target.port))
        except OSError as error:
            code = error.errno or errno.EIO
        self._soon: asyncio.Handle | None = None
        if self._socket is not None and code in (0, errno.EINPROGRESS):
            self._loop.add_writer(self._socket.fileno(), self._connected)
        else:
            self._soon = self._loop.call_soon(self._lose, _CAUSES.get(code, Loss.LOCAL))

    @property
    def closed(self) -> bool:
        """Its socket is gone."""
        return self._socket is None

    def send(self, data: bytes) -> None:
        """Say something short."""
        if self._socket is None:
            return
        if self._layer is not None:
            self._layer.send(data)
            data = self._layer.outgoing()
        self._write(data)

    def look(self) -> None:
        """Take what the socket has, now, without waiting for the loop."""
        if self._socket is not None and self._connecting:
            poll = select.poll()
            poll.register(self._socket.fileno(), select.POLLOUT)
            if not poll.poll(0):
                return
            self._connected()
        if self._socket is not None and not self._connecting:
            self._readable()

    def close(self) -> None:
        """Close at once. Nothing is told any more."""
        if self._soon is not None:
            self._soon.cancel()
        if self._socket is not None:
            number = self._socket.fileno()
            if self._connecting:
                self._loop.remove_writer(number)
            else:
                self._loop.remove_reader(number)
            self._socket.close()
            self._socket = None

    def _connected(self) -> None:
        if self._socket is None:
            return
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._lose(_CAUSES.get(code, Loss.LOCAL))
            return
        number = self._socket.fileno()
        self._loop.remove_writer(number)
        self._connecting = False
        self._loop.add_reader(number, self._readable)
        if self._must_introduce(self._socket.getsockname()[0]):
            self._write(_UNKNOWN)
        if self._layer is not None:
            self._layer.start()
            self._write(self._layer.outgoing())
        self._owner.moved()

    def _must_introduce(self, address: str) -> bool:
        """Whether the relay takes us for a balancer, which has to say for whom it connects."""
        own = ipaddress.ip_address(address)
        return any(own in ipaddress.ip_network(each, strict=False) for each in self._proxy_sources)

    def _write(self, data: bytes) -> None:
        if self._socket is None or not data:
            return
        try:
            self._socket.send(data)
        except BlockingIOError:
            pass  # The peer takes nothing from us, and what it does not hear it will not answer: a silence.
        except OSError as error:
            self._soon = self._loop.call_soon(self._lose, _CAUSES.get(error.errno or 0, Loss.RESET))

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(_CAUSES.get(error.errno or 0, Loss.RESET))
            return
        if self._layer is not None:
            self._decrypt(self._layer, data)
        elif data:
            self._owner.received(data)
        else:
            self._lose(Loss.RESET)

    def _decrypt(self, layer: Layer, data: bytes) -> None:
        if not data:
            self._lose(Loss.RESET if layer.established else Loss.TURNED_AWAY)
            return
        try:
            plain = layer.receive(data)
        except ssl.SSLError:
            self._lose(Loss.RESET)
            return
        if outgoing := layer.outgoing():
            self._write(outgoing)
            self._owner.moved()
        if plain:
            self._owner.received(plain)
        if layer.ended:
            self._lose(Loss.RESET)

    def _lose(self, loss: Loss) -> None:
        if self._soon is not None:
            self._soon.cancel()
        was_open = self._socket is not None or self._soon is not None
        self.close()
        self._soon = None
        if was_open:
            self._owner.lost(loss)
