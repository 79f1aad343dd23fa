"""The certificates by which leader and relay know each other, read again when they change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from relayfleet.relay.server.watched import Signature, signature

log = logging.getLogger(__name__)


class Keys:
    """`tls.crt`, `tls.key` and `ca.crt` in a folder. Files that cannot be used leave the last good ones in use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._signature: Signature = ()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext | None:
        """For the next handshake; None when there never were usable files."""
        files = [self.folder / name for name in ("tls.crt", "tls.key", "ca.crt")]
        now = signature(files)
        if now != self._signature:
            self._signature = now
            self._load(*files)
        return self._context

    def _load(self, certificate: Path, key: Path, authority: Path) -> None:
        try:
            self._context = _server_context(certificate, key, authority)
        except (OSError, ValueError) as error:
            log.warning("control: certificates in %s cannot be used: %s", self.folder, error)
        else:
            log.info("control: certificates read from %s", self.folder)


def _server_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """TLS 1.3; clients must show a client certificate of the authority. Their names are not checked: pods have none that last."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    # A password callback: without one OpenSSL would ask a terminal for the password of an encrypted key.
    context.load_cert_chain(certificate, key, password=lambda: b"")
    context.load_verify_locations(authority)
    return context
