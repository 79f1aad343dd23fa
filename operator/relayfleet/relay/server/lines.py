"""Bytes of an SMTP client cut into command lines and messages; pure, incremental, and the same however the bytes are split.

Only CRLF ends a line and only CRLF.CRLF ends a message. A bare CR, a bare LF or a NUL is never part of mail that we take: some server
behind us might see an end of data there that we did not see, and read the rest of the message as commands of ours (SMTP smuggling,
CVE-2023-51764 and its kin). So every variant of the end of data is a fault, found as soon as its bytes are there.

A message stays dot-stuffed, as it came: delivery sends it on as it is. Text lines inside a message may be of any length.

Memory: a command line is at most COMMAND_LINE or AUTH_LINE bytes, a message at most its limit; beyond it the bytes are checked and
thrown away. What one read of the socket brought may come on top.
"""

from __future__ import annotations

from typing import NamedTuple

COMMAND_LINE = 2048
"""Longest command with CRLF: 512 of RFC 5321, and what SIZE, DSN, AUTH= and SMTPUTF8 add to it."""
AUTH_LINE = 12288
"""Longest answer to an AUTH challenge with CRLF (RFC 4954)."""

_END = b"\r\n.\r\n"


class LineFault(Exception):  # noqa: N818 - the client's mistake
    """The stream cannot be cut any further: nothing after this point can be trusted."""


class BareLineEnd(LineFault):
    """A CR without LF or a LF without CR; in a message also a NUL."""


class LineTooLong(LineFault):
    """No line end within the limit."""


class Body(NamedTuple):
    """A message whose end was seen. `complete` False: it was over the limit or discarded, and `message` is empty."""

    message: bytes
    complete: bool


class Reader:
    """Feed it bytes, then ask for lines; after `begin_body` ask for the body until it is there, then for lines again."""

    __slots__ = ("_at", "_body", "_buffer", "_checked", "_discarding", "_dropped", "_limit")

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._body = bytearray()
        self._checked = 0
        self._dropped = 0
        self._limit = 0
        self._discarding = False

    def feed(self, data: bytes) -> None:
        """Add what came from the socket."""
        self._buffer = self._buffer[self._at :] + data if self.pending else data
        self._at = 0

    @property
    def pending(self) -> bool:
        """Whether bytes wait that were not yet handed out."""
        return self._at < len(self._buffer)

    @property
    def held(self) -> int:
        """Bytes of the unfinished message in memory."""
        return len(self._body)

    @property
    def seen(self) -> int:
        """Bytes of the unfinished message that came, those thrown away too."""
        return self._dropped + len(self._body)

    def line(self, limit: int = COMMAND_LINE) -> bytes | None:
        """The next line without its CRLF, or None when it is not complete yet. Raises LineFault."""
        end = self._buffer.find(b"\n", self._at)
        length = (end + 1 if end >= 0 else len(self._buffer)) - self._at
        if length > limit or (end < 0 and length == limit):
            raise LineTooLong
        if end < 0:
            return None
        line = self._buffer[self._at : end]
        if line.find(b"\r") != len(line) - 1 or not line:
            raise BareLineEnd
        self._at = end + 1
        return line[:-1]

    def begin_body(self, limit: int) -> None:
        """The next bytes are a message of at most `limit` bytes (counted as it came, without the final dot)."""
        # The line end of the DATA command may be the first half of CRLF.CRLF: an empty message.
        self._body = bytearray(b"\r\n")
        self._checked = 2
        self._dropped = 0
        self._limit = limit + 2
        self._discarding = False

    def discard(self) -> None:
        """Keep nothing of this message, only look for its end."""
        self._discarding = True
        self._forget()

    def body(self) -> Body | None:
        """The message, or None when its end has not come yet. Raises BareLineEnd."""
        body = self._body
        searched = max(0, len(body) - len(_END) + 1)
        body += self._buffer[self._at :] if self._at else self._buffer
        self._buffer, self._at = b"", 0
        end = body.find(_END, searched)
        if end < 0:
            self._check(len(body) - body.endswith(b"\r"))
            if self._discarding or len(body) > self._limit + len(_END):
                self.discard()
            return None
        self._check(end + 2)
        return self._finish(end + 2)

    def _finish(self, end: int) -> Body:
        body, self._body = self._body, bytearray()
        self._buffer = bytes(body[end + 3 :])
        if self._discarding or end > self._limit:
            return Body(b"", complete=False)
        return Body(bytes(memoryview(body)[2:end]), complete=True)

    def _check(self, end: int) -> None:
        """Every CR and LF up to `end` must be half of a CRLF; counting is many times faster than looking at each."""
        body, start = self._body, self._checked
        pairs = body.count(b"\r\n", start, end)
        if (
            pairs != body.count(b"\n", start, end)
            or pairs != body.count(b"\r", start, end)
            or body.find(0, start, end) >= 0
        ):
            raise BareLineEnd
        self._checked = end

    def _forget(self) -> None:
        """Drop all but the bytes in which the end of data may have begun."""
        cut = max(0, len(self._body) - len(_END) + 1)
        del self._body[:cut]
        self._dropped += cut
        self._checked = max(0, self._checked - cut)
