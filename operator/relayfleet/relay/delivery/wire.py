"""SMTP as bytes: replies in, commands out. Pure, so every oddity of a peer is one line in a table of tests.

Reading is bounded and strict: a reply line starts with three digits and a space, a hyphen or nothing; lines, lines per reply and
bytes are limited. A multi-line reply whose codes differ is tolerated, its last line counts. Writing never lets a CR, LF or a stray
bracket out of an address, and a body with a bare CR or LF is not sent at all (SMTP smuggling, CVE-2023-51764).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from relayfleet.relay.replies.reply import Reply

MOST_LINE_BYTES = 2048
"""RFC 5321 allows 512; real peers write longer explanations."""
MOST_LINES = 100
_UNSAFE_ADDRESS = re.compile(r"[\x00-\x20\x7f<>]")


class ReplyError(ValueError):
    """What came is no SMTP reply."""


class ReplyParser:
    """Bytes in, complete replies out. Raises ReplyError at the first byte that cannot be part of one; then the session is lost."""

    __slots__ = ("_lines", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []

    def feed(self, data: bytes) -> list[Reply]:
        *lines, self._rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        if len(self._rest) > MOST_LINE_BYTES:
            raise ReplyError(f"a reply line of more than {MOST_LINE_BYTES} bytes")
        return [self._reply() for line in lines if self._line(line.removesuffix(b"\r"))]

    @property
    def idle(self) -> bool:
        """True between two replies."""
        return not self._rest and not self._lines

    def _line(self, line: bytes) -> bool:
        if len(line) > MOST_LINE_BYTES or len(self._lines) >= MOST_LINES:
            raise ReplyError(f"a reply of more than {MOST_LINES} lines or {MOST_LINE_BYTES} bytes a line")
        if not (line[:3].isdigit() and b"200" <= line[:3] < b"600" and line[3:4] in (b" ", b"-", b"")):
            raise ReplyError(f"no SMTP reply: {line[:60]!r}")
        self._lines.append(line)
        return line[3:4] != b"-"

    def _reply(self) -> Reply:
        lines, self._lines = self._lines, []
        return Reply(int(lines[-1][:3]), tuple([printable(line[4:]) for line in lines]))


def printable(raw: bytes) -> str:
    """Text of a peer as it may go into logs and reports."""
    text = raw.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)


@dataclass(frozen=True, slots=True)
class Peer:
    """What the peer offers. `size` 0: no limit stated; `most_recipients` and `most_mails` 0: not stated (RFC 9422). A mail goes to one
    domain, so as many mails as domains in a session obey the limit of domains."""

    pipelining: bool = False
    starttls: bool = False
    eightbitmime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    size_offered: bool = False
    size: int = 0
    most_recipients: int = 0
    most_mails: int = 0


def parse_ehlo(lines: Sequence[str]) -> Peer:
    """The keywords of an EHLO reply; the first line is the peer's greeting."""
    words = {first.upper(): rest for first, *rest in (line.split() for line in lines[1:] if line.strip())}
    limits = dict(each.upper().partition("=")[::2] for each in words.get("LIMITS", ()))
    return Peer(
        pipelining="PIPELINING" in words,
        starttls="STARTTLS" in words,
        eightbitmime="8BITMIME" in words,
        smtputf8="SMTPUTF8" in words,
        dsn="DSN" in words,
        size_offered="SIZE" in words,
        size=_number(words.get("SIZE", [])[:1]),
        most_recipients=_number([limits.get("RCPTMAX", "")]),
        most_mails=min(
            filter(None, (_number([limits.get(each, "")]) for each in ("MAILMAX", "RCPTDOMAINMAX"))), default=0
        ),
    )


def safe_address(address: str) -> bool:
    """True when the address can stand between angle brackets without becoming another command."""
    return not _UNSAFE_ADDRESS.search(address) or _quoted(address)


def safe_body(body: bytes) -> bool:
    """True when every line ends with CRLF and no line is a lone dot, so that the peer sees the end where we put it."""
    ends = body.count(b"\r\n")
    plain = body.count(b"\n") == ends and body.count(b"\r") == ends
    return plain and body.endswith(b"\r\n") and b"\n.\r\n" not in body and not body.startswith(b".\r\n")


def _quoted(address: str) -> bool:
    local, _, domain = address.rpartition("@")
    inside = local[1:-1]
    quoted = len(local) > 1 and local[0] == local[-1] == '"' and not re.search(r"[\x00-\x1f\x7f]", inside)
    return quoted and re.search(r'(?<!\\)(?:\\\\)*"', inside) is None and not _UNSAFE_ADDRESS.search(domain)


def _number(words: Sequence[str]) -> int:
    return int(words[0]) if words and words[0].isascii() and words[0].isdigit() and len(words[0]) < 19 else 0
