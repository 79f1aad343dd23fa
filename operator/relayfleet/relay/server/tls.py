"""TLS on a connection that began without: a layer of bytes in, bytes out, and the certificate that is read again when it changes.

The standard library's in-memory TLS is used rather than a TLS transport, because a listener's first bytes may be a PROXY header with
the handshake right behind it in the same read, and because half-closing then stays possible.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from relayfleet.relay.server.watched import Signature, signature

_READ = 64 * 1024
_logger = logging.getLogger(__name__)


class Certificates:
    """The server's certificate from `tls.crt` and `tls.key` in a folder. A pair that does not fit leaves the last good one in use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signature: Signature | None = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext | None:
        """The context for the next handshake; None when there never was a usable certificate."""
        certificate, key = self._folder / "tls.crt", self._folder / "tls.key"
        now = signature((certificate, key))
        if now != self._signature:
            self._signature = now
            self._load(certificate, key)
        return self._context

    def _load(self, certificate: Path, key: Path) -> None:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
            # A password callback: without one OpenSSL would ask a terminal for the password of an encrypted key.
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except (OSError, ValueError) as error:
            _logger.warning("certificate in %s not usable, %s: %s", self._folder, self._consequence(), error)
            return
        self._context = context
        _logger.info("certificate read from %s", certificate)

    def _consequence(self) -> str:
        return "the last good one stays in use" if self._context else "no TLS is offered until it is"


class Layer:
    """One connection's TLS, server side. Ciphertext goes into `receive`, what is to be sent comes out of `outgoing`.

    `established`: the handshake is done. `ended`: the peer said that it sends nothing more.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side=True)
        self.established = False
        self.ended = False

    def receive(self, data: bytes) -> bytes:
        """Plain text that `data` completes, maybe none. Raises ssl.SSLError when the peer breaks the protocol."""
        self._in.write(data)
        if not self.established and not self._handshake():
            return b""
        return self._read()

    def send(self, data: bytes) -> None:
        """Encrypt `data`."""
        self._object.write(data)

    def close(self) -> None:
        """Say that nothing more will be sent."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            # Wanting the peer's own close is the normal case; ours is in `outgoing` already.
            return

    def outgoing(self) -> bytes:
        """Ciphertext to be written to the socket now."""
        return self._out.read()

    def _handshake(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def _read(self) -> bytes:
        parts = []
        try:
            while part := self._object.read(_READ):
                parts.append(part)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)
