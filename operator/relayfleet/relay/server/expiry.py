"""How long a mail is worth delivering, by its sender: the field `Relayfleet-Expires`. Pure.

    Relayfleet-Expires: 600                                 seconds from now
    Relayfleet-Expires: Fri, 27 Nov 2026 18:00:00 +0100     a date-time as in Date (RFC 5322)

It can only shorten the life that the pool allows. It is ours, so it is taken out before the mail is stored: a program that signs its own mail
must not sign it. Of several the earliest counts. A value that cannot be read loses no mail: it is passed over and told. A date without its
zone is no date, since a guess may be wrong by half a day.

The standard `Expires` (RFC 4021) is left alone: it tells readers when a text is out of date, and newsletters have it that are wanted all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

from relayfleet.relay.server.trace import HEAD_LIMIT

NAME = b"Relayfleet-Expires"
_FIELD = re.compile(rb"^" + NAME + rb"[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n", re.IGNORECASE | re.MULTILINE)
_SECONDS = re.compile(r"[0-9]{1,9}")
_DATE = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?[0-9]{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (?:19|[2-9][0-9])[0-9]{2}"
    r" [0-9]{2}:[0-9]{2}(?::[0-9]{2})? (?:[+-][0-9]{4}|GMT|UT|UTC)(?: \([^()]*\))?",
    re.IGNORECASE,
)
_EARLIEST = 1.0
"""Unix seconds; 0 would mean that it never expires."""


def cut(message: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The message (dot-stuffed) without our fields, and what they say, on one line each."""
    end = message.find(b"\r\n\r\n", 0, HEAD_LIMIT)
    if end < 0 and len(message) > HEAD_LIMIT:
        return message, ()  # without an end of the head nobody knows where a folded field ends
    head = message[: end + 2] if end >= 0 else message
    values = tuple(" ".join(each.decode("utf-8", "replace").split()) for each in _FIELD.findall(head))
    return (_FIELD.sub(b"", head) + message[len(head) :], values) if values else (message, ())


def earliest(values: Sequence[str], now: float) -> float:
    """When the mail expires (Unix seconds), 0.0: no value says it. `now` in Unix seconds."""
    return min((at for each in values if (at := moment(each, now)) is not None), default=0.0)


def moment(value: str, now: float) -> float | None:
    """What one value says, in Unix seconds; None when it cannot be read."""
    if _SECONDS.fullmatch(value):
        return now + int(value)
    if not _DATE.fullmatch(value):
        return None
    try:
        found = parsedate_to_datetime(value)
    except ValueError:
        return None
    # "-0000" says UTC without a word on the sender's own zone.
    zoned = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return max(zoned.timestamp(), _EARLIEST)
