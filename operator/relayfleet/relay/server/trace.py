"""What is put before a message: one Received header, and Date and Message-ID where a submitted message lacks them (RFC 6409).

Pure. Only the head of the message is looked at, and of it only HEAD_LIMIT bytes, so that a message without an end of headers costs no
more than others.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

from relayfleet.relay.server.access import Address

HEAD_LIMIT = 256 * 1024
MAX_HOPS = 50
"""Received headers beyond which a mail loops; RFC 5321 asks for a limit, common ones are between 20 and 100."""

_FIELD = re.compile(
    rb"^(?:(date)|(message-id)|(received)|(from)|(relayfleet-expires))[ \t]*:", re.IGNORECASE | re.MULTILINE
)
_FIRST_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of a message has. `separated` False: it begins with text, so an empty line must come after what we put before it."""

    separated: bool
    date: bool
    message_id: bool
    hops: int
    ascii: bool
    authors: int = 0
    """From fields."""
    expires: bool = False
    """Its sender says until when it is worth delivering (see `expiry`)."""


_NO_HEAD = Head(separated=True, date=False, message_id=False, hops=0, ascii=True)


@dataclass(frozen=True, slots=True)
class Hop:
    """How the message came: what the Received header says. `protocol` as registered by IANA (`ESMTPSA` …)."""

    hello: str
    client: Address | None
    hostname: str
    protocol: str


def inspect(message: bytes) -> Head:
    """Look at the head of a dot-stuffed message."""
    if not message or message.startswith(b"\r\n"):
        return _NO_HEAD
    end = message.find(b"\r\n\r\n", 0, HEAD_LIMIT)
    head = message[: end if end >= 0 else HEAD_LIMIT]
    date = message_id = expires = False
    hops = authors = 0
    for match in _FIELD.finditer(head):
        date = date or match.lastindex == 1
        message_id = message_id or match.lastindex == 2
        hops += match.lastindex == 3
        authors += match.lastindex == 4
        expires = expires or match.lastindex == 5
    return Head(_FIRST_FIELD.match(head) is not None, date, message_id, hops, head.isascii(), authors, expires)


def prefix(hop: Hop, head: Head, record_id: str, recipient: str | None, now: float) -> bytes:
    """The header lines to put before the message. `recipient` only when it is the only one; `now` in Unix seconds."""
    date = _date(int(now))
    lines = [
        f"Received: from {hop.hello} ({_literal(hop.client)})\r\n\tby {hop.hostname} with {hop.protocol} id {record_id}",
        f"\r\n\tfor <{recipient}>;" if recipient is not None else ";",
        f"\r\n\t{date}\r\n",
    ]
    if not head.date:
        lines.append(f"Date: {date}\r\n")
    if not head.message_id:
        lines.append(f"Message-ID: <{record_id}@{hop.hostname}>\r\n")
    if not head.separated:
        lines.append("\r\n")
    return "".join(lines).encode()


def protocol(*, extended: bool, secure: bool, authenticated: bool, smtputf8: bool) -> str:
    """The `with` word of RFC 3848 and RFC 6531."""
    if not extended:
        return "SMTP"
    return f"{'UTF8SMTP' if smtputf8 else 'ESMTP'}{'S' if secure else ''}{'A' if authenticated else ''}"


def _literal(client: Address | None) -> str:
    if client is None:
        return "unknown"
    return f"[IPv6:{client}]" if isinstance(client, ipaddress.IPv6Address) else f"[{client}]"


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))
