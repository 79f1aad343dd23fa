"""TLS towards a target: the authorities from a mounted Secret, read again when it changes, or the public ones."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi

from relayfleet.protocol.dependency import Trust
from relayfleet.relay.dependencies.outcome import NotAsked
from relayfleet.relay.files import look


class Authorities:
    """For one target, whose files are in `folder`."""

    def __init__(self, trust: Trust, folder: Path) -> None:
        self._file = folder / "ca.crt" if trust.ca_file else Path(certifi.where())
        self._version: tuple[object, ...] | None = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """For the next handshake. Raises NotAsked while the file cannot be used."""
        version = look(self._file)
        if self._context is None or version != self._version:
            try:
                self._context = ssl.create_default_context(cafile=str(self._file))
            except (OSError, ssl.SSLError) as error:
                raise NotAsked(f"the CA in {self._file} cannot be used: {error}") from error
            self._version = version
        return self._context
