"""TLS between a socket and a conversation, as a client that trusts anybody: a probe asks whether somebody is there, not who.

The event loop's own TLS keeps 256 KiB for each connection and hides whether a handshake was reset or ended; this does neither.
"""

from __future__ import annotations

import ssl


def anybody() -> ssl.SSLContext:
    """A client's context without any verification."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Layer:
    """One session. Bytes go in and out by `receive`, `send` and `outgoing`; `ssl.SSLError` means that the peer speaks no TLS."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out)
        self.established = False
        self.ended = False

    def start(self) -> None:
        """Begin the handshake."""
        self._handshake()

    def receive(self, data: bytes) -> bytes:
        """Ciphertext in, plain text out. Raises ssl.SSLError."""
        self._in.write(data)
        if not self.established:
            self._handshake()
        return self._plain() if self.established else b""

    def send(self, data: bytes) -> None:
        """Plain text to be sent."""
        self._object.write(data)

    def outgoing(self) -> bytes:
        """Ciphertext for the socket."""
        return self._out.read()

    def _handshake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.established = True

    def _plain(self) -> bytes:
        parts = []
        try:
            while part := self._object.read(65536):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(parts)
