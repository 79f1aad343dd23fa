"""Reading SMTP replies within bounds: a peer that sends something else, or without end, costs no memory and no patience."""

from __future__ import annotations

LONGEST_LINE = 4096
MOST_LINES = 100


class GarbledError(Exception):
    """What came is no SMTP reply."""


class ReplyReader:
    """Cuts a stream into replies, of which only the code matters here."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines = 0
        self._code = 0

    def feed(self, data: bytes) -> list[int]:
        """The codes of the replies that `data` completes. Raises GarbledError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        codes = [code for line in lines if (code := self._line(line)) is not None]
        if len(self._rest) > LONGEST_LINE:
            raise GarbledError("a line without an end")
        return codes

    def _line(self, line: bytes) -> int | None:
        """The code when this line is the last of its reply."""
        head, mark = line[:3], line[3:4].strip()
        if len(line) > LONGEST_LINE or not (head.isdigit() and len(head) == 3) or mark not in (b"", b"-"):
            raise GarbledError(f"no line of a reply: {line[:80]!r}")
        code = int(head)
        if not 200 <= code <= 599 or self._other(code):
            raise GarbledError(f"no code that fits here: {line[:80]!r}")
        self._code, self._lines = code, self._lines + 1
        if self._lines > MOST_LINES:
            raise GarbledError("a reply without an end")
        if mark:
            return None
        self._lines = 0
        return code

    def _other(self, code: int) -> bool:
        """All lines of a reply have the same code."""
        return self._lines > 0 and code != self._code
