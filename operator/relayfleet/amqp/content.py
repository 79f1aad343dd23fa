"""A message: its properties, and how header and body frames are joined to one.

Pure. Of the fourteen properties we write the ones that a broker's operator wants to see when looking into a queue. Those that
come in stay undecoded until somebody asks: the normal delivery needs none of them.
"""

from __future__ import annotations

import struct
from typing import Any

from relayfleet.amqp.errors import MalformedFrame
from relayfleet.amqp.fields import Reader, short_string

_HEAD = struct.Struct("!HHQH")
_BASIC = 60
_PERSISTENT = b"\x02"
_DELIVERY_MODE, _CORRELATION_ID, _EXPIRATION, _MESSAGE_ID = 1 << 12, 1 << 10, 1 << 8, 1 << 7
_ORDER: tuple[tuple[str, int, str], ...] = (
    ("content_type", 1 << 15, "text"),
    ("content_encoding", 1 << 14, "text"),
    ("headers", 1 << 13, "table"),
    ("delivery_mode", _DELIVERY_MODE, "octet"),
    ("priority", 1 << 11, "octet"),
    ("correlation_id", _CORRELATION_ID, "text"),
    ("reply_to", 1 << 9, "text"),
    ("expiration", _EXPIRATION, "text"),
    ("message_id", _MESSAGE_ID, "text"),
    ("timestamp", 1 << 6, "long"),
    ("type", 1 << 5, "text"),
    ("user_id", 1 << 4, "text"),
    ("app_id", 1 << 3, "text"),
    ("cluster_id", 1 << 2, "text"),
)
_LONG = struct.Struct("!Q")


def header_payload(size: int, message_id: str, correlation_id: str, expires: int | None = None) -> bytes:
    """The header frame's payload of a persistent message of `size` bytes, which the broker drops after `expires` milliseconds."""
    flags = _DELIVERY_MODE | _CORRELATION_ID | _MESSAGE_ID
    expiration = b""
    if expires is not None:
        flags |= _EXPIRATION
        expiration = short_string(str(expires))
    head = _HEAD.pack(_BASIC, 0, size, flags)
    return b"".join((head, _PERSISTENT, short_string(correlation_id), expiration, short_string(message_id)))


def properties(payload: bytes) -> dict[str, Any]:
    """The properties in a header frame's payload, by their names in AMQP with underscores."""
    reader = Reader(payload)
    flags = reader.fixed(_HEAD)[3]
    found: dict[str, Any] = {}
    for name, bit, kind in _ORDER:
        if flags & bit:
            found[name] = _property(reader, kind)
    return found


def _property(reader: Reader, kind: str) -> Any:
    if kind == "text":
        return reader.short_string()
    if kind == "table":
        return reader.table()
    return reader.octet() if kind == "octet" else reader.fixed(_LONG)[0]


class Joiner:
    """Collects the header and body frames that follow a method with content, for one channel."""

    __slots__ = ("_chunks", "_header", "_missing", "_size_max")

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._chunks: list[bytes] = []
        self._header = b""
        self._missing = -1

    def header(self, payload: bytes) -> tuple[bytes, bytes] | None:
        """Take the header frame; returns (header, body) when the message has no body."""
        size: int = Reader(payload).fixed(_HEAD)[2]
        if size > self._size_max:
            raise MalformedFrame(f"a message of {size} bytes, where at most {self._size_max} can be")
        self._header, self._missing = payload, size
        return self._complete() if size == 0 else None

    def body(self, payload: bytes) -> tuple[bytes, bytes] | None:
        """Take a body frame; returns (header, body) with the last one."""
        if self._missing <= 0 or len(payload) > self._missing:
            raise MalformedFrame("a body frame where none was announced")
        self._chunks.append(payload)
        self._missing -= len(payload)
        return self._complete() if self._missing == 0 else None

    def _complete(self) -> tuple[bytes, bytes]:
        chunks, self._chunks, self._missing = self._chunks, [], -1
        return self._header, chunks[0] if len(chunks) == 1 else b"".join(chunks)
