"""An answer of a peer, as it came."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply: the code, and the text of its lines without control characters."""

    code: int
    lines: tuple[str, ...] = ("",)

    @property
    def text(self) -> str:
        return " ".join(self.lines)

    @property
    def positive(self) -> bool:
        """2xx and nothing else: 3xx asks for more, so no mail was taken and no command done."""
        return self.code // 100 == 2

    @property
    def status(self) -> str:
        """The first enhanced status code in the text (RFC 3463), "" without one. Its class may differ from the code's."""
        found = _STATUS.search(self.text)
        return found[1] if found else ""
