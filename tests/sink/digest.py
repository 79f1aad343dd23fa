"""What is hashed of a message, so that two parties can say "byte for byte the same" without keeping the bytes.

A message (after dot-unstuffing, CRLF line ends) is cut at its first empty line:

- `body_sha256`: SHA-256 of every byte after the empty line.
- `headers_sha256`: SHA-256 of the header fields, unfolded in no way, in their order, joined by CRLF, without those that a relay
  adds on the way: Received, Return-Path, Delivered-To, DKIM-Signature, Authentication-Results, ARC-*, X-Relayfleet-*.

A message without an empty line is all headers; its body is empty.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

TRACE = frozenset((b"received", b"return-path", b"delivered-to", b"dkim-signature", b"authentication-results"))
TRACE_PREFIXES = (b"arc-", b"x-relayfleet-")

_FIELD_END = re.compile(rb"\r\n(?![ \t])")


@dataclass(frozen=True, slots=True)
class Headers:
    """What is remembered of the header fields. `received` counts the Received fields."""

    sha256: str
    message_id: str
    test_id: str
    received: int


def read_headers(head: bytes) -> Headers:
    """`head`: the fields with CRLF between them, with or without the last CRLF."""
    kept: list[bytes] = []
    received = 0
    named = {b"message-id": b"", b"x-test-id": b""}
    for field in _FIELD_END.split(head.removesuffix(b"\r\n")):
        name = field.partition(b":")[0].rstrip().lower()
        if name in TRACE or name.startswith(TRACE_PREFIXES):
            received += name == b"received"
            continue
        kept.append(field)
        if name in named and not named[name]:
            named[name] = field.partition(b":")[2].strip()
    return Headers(
        hashlib.sha256(b"\r\n".join(kept)).hexdigest(),
        named[b"message-id"].decode(errors="backslashreplace"),
        named[b"x-test-id"].decode(errors="backslashreplace"),
        received,
    )


def digests(message: bytes) -> tuple[str, str]:
    """`(headers_sha256, body_sha256)` of a whole message with CRLF line ends, not dot-stuffed."""
    if message.startswith(b"\r\n"):
        head, body = b"", message[2:]
    else:
        head, _, body = message.partition(b"\r\n\r\n")
    return read_headers(head).sha256, hashlib.sha256(body).hexdigest()
