"""The two ways of saying name and password: PLAIN (RFC 4616) and LOGIN. Pure: answers in, challenges and in the end credentials out."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from relayfleet.relay.server import replies
from relayfleet.relay.server.replies import Refused

MECHANISMS = ("PLAIN", "LOGIN")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client claims to be."""

    name: str
    password: bytes = field(repr=False)


class Exchange:
    """One AUTH command. `begin`, then `step` for each answer, until Credentials come instead of the next challenge (base64)."""

    def __init__(self, mechanism: str) -> None:
        if mechanism not in MECHANISMS:
            raise Refused(replies.UNKNOWN_MECHANISM)
        self._mechanism = mechanism
        self._name: bytes | None = None

    def begin(self, initial: str | None) -> str | Credentials:
        """The first challenge, or the step that an initial response makes ("=" stands for an empty one)."""
        if initial is not None:
            return self.step("" if initial == "=" else initial)
        return "" if self._mechanism == "PLAIN" else _encode("Username:")

    def step(self, answer: str) -> str | Credentials:
        """Take one answer. Raises Refused when it is `*`, no base64, or has the wrong parts."""
        if answer == "*":
            raise Refused(replies.AUTH_CANCELLED)
        try:
            data = base64.b64decode(answer.encode(), validate=True)
        except (binascii.Error, ValueError):
            raise Refused(replies.BAD_BASE64) from None
        return self._plain(data) if self._mechanism == "PLAIN" else self._login(data)

    def _plain(self, data: bytes) -> Credentials:
        parts = data.split(b"\0")
        if len(parts) != 3:
            raise Refused(replies.SYNTAX)
        identity, name, password = parts
        if identity and identity != name:
            # Nobody may act for another.
            raise Refused(replies.BAD_CREDENTIALS)
        return _credentials(name, password)

    def _login(self, data: bytes) -> str | Credentials:
        if self._name is None:
            self._name = data
            return _encode("Password:")
        return _credentials(self._name, data)


def _credentials(name: bytes, password: bytes) -> Credentials:
    try:
        return Credentials(name.decode(), password)
    except UnicodeDecodeError:
        raise Refused(replies.BAD_CREDENTIALS) from None


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
