"""Reads what follows DATA, in pieces of any size and in bounded memory: the body is hashed as it comes and thrown away.

Only CRLF "." CRLF ends a message. A bare LF is a byte like any other: who sends one to cut a message short gets it recorded as
part of the message.
"""

from __future__ import annotations

import hashlib

from tests.sink.digest import Headers, read_headers

HEADERS_MAX = 256 * 1024
"""Bytes of header fields that are looked at; longer ones count as body."""

_END = b"\r\n.\r\n"


class Body:
    """One message on its way in. `limit` is the largest size in bytes; what is longer is read and not kept."""

    def __init__(self, limit: int, keep: bool) -> None:
        # A CRLF before the first line, as the line before it had: so a dot there, or an empty line, is seen like anywhere else.
        self._pending = b"\r\n"
        self._head: bytearray | None = bytearray()
        self._hash = hashlib.sha256()
        self._kept: list[bytes] | None = [] if keep else None
        self._limit = limit
        self._seen = -2
        self.headers = Headers("", "", "", 0)

    @property
    def size(self) -> int:
        """Bytes so far, dots unstuffed."""
        return max(self._seen, 0)

    @property
    def too_large(self) -> bool:
        return self._seen > self._limit

    @property
    def body_sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def raw(self) -> bytes | None:
        """The message as it came, dots unstuffed; None unless it was asked to be kept."""
        return b"".join(self._kept)[2:] if self._kept is not None else None

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes. None: more are needed. Otherwise the message is complete, and these bytes came after it."""
        data = self._pending + data
        end = data.find(_END)
        if end >= 0:
            self._take(data[: end + 2])
            self._finish()
            return data[end + 5 :]
        # The first CR of the last four bytes may begin the end mark, or be the line end before a stuffed dot.
        cut = data.find(b"\r", max(len(data) - 4, 0))
        cut = len(data) if cut < 0 else cut
        self._take(data[:cut])
        self._pending = data[cut:]
        return None

    def _take(self, piece: bytes) -> None:
        piece = piece.replace(b"\r\n.", b"\r\n")
        self._seen += len(piece)
        if self.too_large:
            self._kept = None
            return
        if self._kept is not None:
            self._kept.append(piece)
        if self._head is None:
            self._hash.update(piece)
        else:
            self._take_head(self._head, piece)

    def _take_head(self, head: bytearray, piece: bytes) -> None:
        searched = max(len(head) - 3, 0)
        head += piece
        end = head.find(b"\r\n\r\n", searched)
        if end >= 0:
            self._head_is(head[2:end], head[end + 4 :])
        elif len(head) > HEADERS_MAX:
            self._head_is(head[2:HEADERS_MAX], head[HEADERS_MAX:])

    def _head_is(self, head: bytearray, rest: bytearray) -> None:
        self.headers = read_headers(bytes(head))
        self._head = None
        self._hash.update(rest)

    def _finish(self) -> None:
        if self._head is not None:
            self._head_is(self._head[2:], bytearray())
