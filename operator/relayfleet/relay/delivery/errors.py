"""What can go wrong on the way to a peer, by meaning. A reply of the peer is no error; these are the ways to get none.

    SmtpError
    ├── LocalError              this relay cannot send from that address (EADDRNOTAVAIL, no route from it)
    ├── BusyError               all our sessions to the destination are in use
    ├── ConnectError            the address refused, reset, or let us wait: the next one is tried
    ├── RefusedError            the peer answered the greeting or EHLO with 4xx or 5xx; carries the reply
    ├── TlsError                STARTTLS was offered and failed: the host is tried once more in plain
    └── SessionError            an open session broke
        ├── LostError           closed or reset by the peer
        ├── PeerTimeoutError    no reply, or no progress, within the time of RFC 5321 section 4.5.3.2
        └── ProtocolError       what came is no SMTP reply, or came unasked: the session is out of step

`phase` names the command that was waiting for its answer.
"""

from __future__ import annotations

from typing import Literal

from relayfleet.relay.replies.reply import Reply

Phase = Literal["dns", "local", "connect", "banner", "ehlo", "starttls", "reset", "mail", "rcpt", "data", "body", "end"]


class SmtpError(Exception):
    """No reply to `phase`; `text` says what was seen."""

    def __init__(self, phase: Phase, text: str) -> None:
        super().__init__(f"{phase}: {text}")
        self.phase = phase
        self.text = text


class LocalError(SmtpError):
    """The fault is on our side of the wire."""


class BusyError(SmtpError):
    """All sessions to the destination stayed busy until the deadline."""


class ConnectError(SmtpError):
    """No TCP connection."""


class RefusedError(SmtpError):
    """The peer talks, but not with us."""

    def __init__(self, phase: Phase, reply: Reply) -> None:
        super().__init__(phase, f"{reply.code} {reply.text}")
        self.reply = reply


class TlsError(SmtpError):
    """The handshake failed."""


class SessionError(SmtpError):
    """The session is of no use any more."""


class LostError(SessionError):
    """The connection is gone."""


class PeerTimeoutError(SessionError):
    """The peer let us wait too long."""


class ProtocolError(SessionError):
    """Garbage, an endless reply, or one that nobody asked for."""


def is_silence(error: BaseException) -> bool:
    """Nobody was there: no connection, or no greeting. Who says no is there."""
    return isinstance(error, ConnectError) or (isinstance(error, SessionError) and error.phase == "banner")
