"""A record: one accepted SMTP transaction, as it rests in the queue.

One record holds the envelope with all its recipients and the message once, so that acceptance is atomic. A record is never
changed: what is left after an attempt goes on in successors, each with the same `id`, a higher `attempt` and the recipients that are
left. `(id, attempt, part)` names one record for ever, which is what makes duplicates decidable.

What a rule holds back goes on in a successor of its own, so that neither waits for the other. `part` says which turns a copy has taken on
its way: `h3d6` was held from attempt 3 on, and is not any more since attempt 6. So no two ways have one name, whichever relay goes them.

On the wire: 4 bytes magic and version, 4 bytes length of the head, the head as JSON, then the message as it came over SMTP: CRLF
lines, still dot-stuffed, without the final dot. Delivery sends it as it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import struct
import time
from dataclasses import dataclass, field
from typing import Any

MAGIC = b"RFR1"
_PREFIX = struct.Struct("!4sI")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


_TURN = re.compile(r"[hd](\d+)")


class RecordError(ValueError):
    """The bytes are no record, or one of a version that this relay does not know."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient: the address as given, and its DSN parameters (RFC 3461), empty when not given."""

    address: str
    notify: str = ""
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One transaction. Times are Unix seconds; `message` is dot-stuffed, with CRLF line ends, without the final dot.
    `expires_at`: when its sender gives it up, 0: when the pool does. `deferred_at`: when it was put off the last time, 0: never, or by a relay that
    does not say. `earliest_at`: before that nobody may try it, since its peer may have it already; 0: any time. A relay that does not know
    these passes the mail on without."""

    id: str
    sender: str
    recipients: tuple[Recipient, ...]
    message: bytes = field(repr=False)
    accepted_at: float = 0.0
    attempt: int = 0
    part: str = ""
    body_8bit: bool = False
    smtputf8: bool = False
    credential: str = ""
    client: str = ""
    ret: str = ""
    envid: str = ""
    last_answer: str = ""
    last_source: str = ""
    next_at: float = 0.0
    expires_at: float = 0.0
    deferred_at: float = 0.0
    earliest_at: float = 0.0

    @property
    def key(self) -> str:
        """The name of this very copy: id, attempt and part."""
        return f"{self.id}.{self.attempt}{self.part}"

    @property
    def is_held(self) -> bool:
        """Whether it was put off by a rule the last time."""
        return self.part.rfind("h") > self.part.rfind("d")

    @property
    def holds(self) -> tuple[int, int]:
        """How many of its attempts were none, since a rule held it: in all, and the last in a row."""
        turns = [int(each[1]) for each in _TURN.finditer(self.part)]
        ends = [*turns[1::2], self.attempt + 1]
        lengths = [end - begin for begin, end in zip(turns[::2], ends, strict=False)]
        return sum(lengths), lengths[-1] if self.is_held else 0

    def part_after(self, *, held: bool) -> str:
        """The part of its next attempt: of the recipients that a rule holds, or of the others."""
        return self.part if held is self.is_held else f"{self.part}{'h' if held else 'd'}{self.attempt + 1}"


def new_id() -> str:
    """26 characters (a ULID): sorted by time in milliseconds, 80 random bits, safe in mail headers and logs."""
    number = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def share(name: str) -> float:
    """A number in [0, 1) that follows from the name of a copy. It spreads records as chance does, and relays that settle copies of one record draw
    the same: their successors, which have one name, wait alike and meet again."""
    return int.from_bytes(hashlib.blake2b(name.encode(errors="replace"), digest_size=6).digest(), "big") / 2**48


MOST_MESSAGE_ID = 250
_MESSAGE_ID = re.compile(
    rb"^message-id[ \t]*:[ \t]*(?:\r\n[ \t]+)?([^\r\n]{1,%d})" % (4 * MOST_MESSAGE_ID), re.IGNORECASE | re.MULTILINE
)
_HEAD_LIMIT = 256 * 1024
"""Bytes that are searched, as many as at acceptance: delivery asks for each attempt, and a head may be as long as a message."""


def message_id(message: bytes) -> str:
    """What its sender's Message-ID field says, cut at `MOST_MESSAGE_ID` characters; "" without one."""
    end = message.find(b"\r\n\r\n", 0, _HEAD_LIMIT)
    found = None if message.startswith(b"\r\n") else _MESSAGE_ID.search(message, 0, end if end >= 0 else _HEAD_LIMIT)
    return found[1].decode(errors="replace").strip()[:MOST_MESSAGE_ID] if found else ""


def encode(record: Record) -> bytes:
    """The record as bytes for the queue."""
    head = {each.name: getattr(record, each.name) for each in dataclasses.fields(record) if each.name != "message"}
    head["recipients"] = [[each.address, each.notify, each.orcpt] for each in record.recipients]
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((_PREFIX.pack(MAGIC, len(text)), text, record.message))


def decode(data: bytes) -> Record:
    """The record that `encode` wrote; fields that are not known are ignored. Raises RecordError for anything else."""
    try:
        magic, size = _PREFIX.unpack_from(data)
        if magic != MAGIC:
            raise RecordError(f"not a record: starts with {data[:4]!r}")
        head: dict[str, Any] = json.loads(data[_PREFIX.size : _PREFIX.size + size])
        if not isinstance(head, dict):
            raise RecordError("not a record: its head is no object")
        head = {name: value for name, value in head.items() if name in _FIELDS}
        head["recipients"] = tuple(Recipient(*each) for each in head["recipients"])
        return Record(message=data[_PREFIX.size + size :], **head)
    except RecordError:
        raise
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"not a record: {error}") from error


_FIELDS = {each.name for each in dataclasses.fields(Record)}
