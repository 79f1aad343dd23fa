"""The mails that the client sends: each different, each with an id of its own, of the size that was asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate

from tests.sink.digest import digests

_LINE = b"The quick brown fox jumps over the lazy dog 0123456789 and comes back again.\r\n"
_DOTS = b".begins with a dot, as some lines do\r\n..\r\n"


@dataclass(slots=True)
class Mail:
    """A mail on its way out; `recipients` are those that are not accepted yet, `tries` counts the tries."""

    test_id: str
    sender: str
    recipients: list[str]
    message: bytes
    born: float = field(default_factory=time.monotonic)
    tries: int = 0

    @property
    def digests(self) -> tuple[str, str]:
        """Of headers and body, as the sink takes them."""
        return digests(self.message)


def compose(test_id: str, sender: str, recipients: list[str], size: int) -> Mail:
    """A mail of `size` bytes (a little more when `size` is less than the headers need)."""
    fields = {
        "From": sender,
        "To": ", ".join(recipients[:20]),
        "Subject": f"test mail {test_id}",
        "Date": formatdate(),
        "Message-ID": f"<{test_id}@client.example.test>",
        "X-Test-Id": test_id,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode() + b"\r\n" + _DOTS
    lines = max(size - len(head), 0)
    body = (_LINE * (lines // len(_LINE) + 1))[: max(lines - 2, 0)]
    return Mail(test_id, sender, list(recipients), head + body.removesuffix(b"\r") + b"\r\n")
