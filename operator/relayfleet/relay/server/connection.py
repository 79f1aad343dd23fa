"""One TCP connection: from bytes on a socket to a session, through the PROXY header and TLS where they are due.

    connected ── [PROXY header] ──► client known ── admitted ──► [TLS handshake] ──► banner, session ──► closing ──► lost

Closing is done by half: after the last answer we send our end of stream and read (and drop) what still comes, for at most a few seconds.
Closing at once while the client still sends would reset the connection, and the reset may overtake the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from typing import cast

from relayfleet.protocol.relay_config import TlsMode
from relayfleet.relay.server import proxy, replies
from relayfleet.relay.server.access import Address, parse_peer, plain
from relayfleet.relay.server.limits import HANDSHAKE_SECONDS, LINGER_SECONDS
from relayfleet.relay.server.replies import Reply
from relayfleet.relay.server.services import Services
from relayfleet.relay.server.session import Session
from relayfleet.relay.server.tls import Layer


class Connection(asyncio.Protocol):
    """Fits `session.Wire`. Adds itself to `connections` for as long as it lives."""

    def __init__(self, services: Services, tls: TlsMode, connections: set[Connection]) -> None:
        self._services = services
        self._tls = tls
        self._connections = connections
        self._session: Session | None = None
        self._layer: Layer | None = None
        self._head = b""
        self._awaits_header = False
        self._client: Address | None = None
        self._admitted = self._closing = self._held = False
        self._deadline = 0.0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._deadline = asyncio.get_running_loop().time() + HANDSHAKE_SECONDS
        self._connections.add(self)
        peer = _peer(self._transport)
        if self._services.access.is_proxy(peer):
            self._awaits_header = True
        elif peer is None:
            # Gone before we looked.
            self._transport.abort()
        else:
            self._admit(peer)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._awaits_header:
            data = self._take_header(data)
        if self._layer is not None and data:
            data = self._decrypt(self._layer, data)
        if data and self._session is not None and not self._closing:
            self._session.receive(data)
        if self._layer is not None and self._layer.ended:
            self.close()

    def pause_writing(self) -> None:
        if self._session is not None:
            self._session.block(True)

    def resume_writing(self) -> None:
        if self._session is not None:
            self._session.block(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._connections.discard(self)
        if self._session is not None:
            self._session.lost()
        if self._admitted:
            self._services.admission.leave(self._client)
            self._services.counters.sessions_open -= 1

    # What the session wants (Wire), and the server.

    def write(self, data: bytes) -> None:
        """Send, through TLS if there is any. Nothing is sent once we are closing, or while a handshake is not done."""
        if self._closing:
            return
        if self._layer is None:
            self._transport.write(data)
        elif self._layer.established:
            self._layer.send(data)
            self._transport.write(self._layer.outgoing())

    def hold(self, held: bool) -> None:
        """Stop or go on reading."""
        if held is self._held or self._closing:
            return
        self._held = held
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def is_gone(self) -> bool:
        """See `session.Wire.is_gone`. While nothing is read the event loop does not tell."""
        return self._closing or self._transport.is_closing() or _has_ended(self._transport)

    def start_tls(self) -> None:
        """The next bytes are a handshake; without a certificate the connection ends."""
        context = self._services.certificates.context()
        if context is None:
            self._transport.abort()
            return
        self._layer = Layer(context)
        self._deadline = asyncio.get_running_loop().time() + HANDSHAKE_SECONDS

    def close(self) -> None:
        """Send what is written and our end of stream, then wait a little for the client's."""
        if self._closing or self._transport.is_closing():
            return
        self.hold(False)
        self._closing = True
        self._deadline = asyncio.get_running_loop().time() + LINGER_SECONDS
        if self._layer is not None and self._layer.established:
            self._layer.close()
            self._transport.write(self._layer.outgoing())
        with contextlib.suppress(OSError):  # the client has reset it, which is not told to us yet
            self._transport.write_eof()

    def tick(self, now: float) -> None:
        """Look at the deadlines."""
        handshaking = self._session is None or (self._layer is not None and not self._layer.established)
        if (self._closing or handshaking) and now >= self._deadline:
            self._transport.abort()
        elif self._session is not None and not self._closing:
            self._session.tick(now)

    def leave(self) -> None:
        """The server stops."""
        if self._session is None:
            self._transport.abort()
        else:
            self._session.leave()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # From the socket to the session.

    def _take_header(self, data: bytes) -> bytes:
        """Read the PROXY header; returns what came after it."""
        self._head += data
        try:
            header = proxy.parse(self._head)
        except proxy.HeaderError:
            self._refuse(replies.BAD_PROXY_HEADER)
            return b""
        if header is None:
            return b""
        rest, self._head, self._awaits_header = self._head[header.length :], b"", False
        self._admit(None if header.client is None else plain(header.client))
        return rest

    def _admit(self, client: Address | None) -> None:
        refusal = self._services.admission.enter(client, self._services.config.limits)
        if refusal is not None:
            self._refuse(refusal)
            return
        self._client, self._admitted = client, True
        self._services.counters.sessions += 1
        self._services.counters.sessions_open += 1
        if self._tls == "Implicit":
            self.start_tls()
        else:
            self._greet()

    def _decrypt(self, layer: Layer, data: bytes) -> bytes:
        was_established = layer.established
        try:
            data = layer.receive(data)
        except ssl.SSLError:
            self._services.counters.tls_failures += 1
            self._transport.write(layer.outgoing())
            self._transport.close()
            self._closing = True
            return b""
        if outgoing := layer.outgoing():
            self._transport.write(outgoing)
        if layer.established and not was_established:
            self._services.counters.tls_sessions += 1
            if self._session is None:
                self._greet()
        return data

    def _greet(self) -> None:
        if self._services.leaving:
            self._refuse(replies.LEAVING)
            return
        self._session = Session(self._services, self, self._client, self._tls)
        self.write(replies.banner(self._services.hostname))

    def _refuse(self, reply: Reply) -> None:
        """No session. Before an implicit handshake there is no way to say why."""
        self._services.counters.refuse(reply.key)
        if self._tls != "Implicit" or self._layer is not None:
            self.write(reply.wire)
        self.close()


def _has_ended(transport: asyncio.Transport) -> bool:
    """Asks the socket itself, which knows of an end of stream before what came earlier is read."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def _peer(transport: asyncio.Transport) -> Address | None:
    name = transport.get_extra_info("peername")
    return parse_peer(name[0]) if name else None
