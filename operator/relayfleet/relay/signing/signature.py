"""The DKIM-Signature field. Pure: fields, the body's hash, a key and the time in, one field out."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relayfleet.relay.signing.canonical import relaxed_field
from relayfleet.relay.signing.keys import Key

SIGNED = (
    "from",
    "reply-to",
    "sender",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
)
"""What a reader sees or a program acts on. Each is named once more than it occurs, so that nobody can add one unseen."""
_SIGNED = frozenset(name.encode() for name in SIGNED)
WIDTH = 78
_NAME = b"DKIM-Signature"


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and the selector by which the world finds its public half."""

    selector: str
    key: Key


@dataclass(frozen=True, slots=True)
class Hashed:
    """What is the same for all signatures of a mail: the names for h=, the signed fields in relaxed form, and the body's SHA-256."""

    names: tuple[str, ...]
    fields: bytes
    body: bytes


def hashed(fields: Sequence[tuple[bytes, bytes]], body: bytes) -> Hashed:
    """`fields` as the head has them; of several with one name the last is signed first (RFC 6376 section 5.4.2)."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in reversed(fields):
        if name in _SIGNED:
            found.setdefault(name, []).append(relaxed_field(name, value))
    names = [name for name in SIGNED for _ in range(len(found.get(name.encode(), ())) + 1)]
    parts = [part for name in SIGNED for part in found.get(name.encode(), ())]
    return Hashed(tuple(names), b"".join(each + b"\r\n" for each in parts), body)


def field(what: Hashed, domain: str, signer: Signer, now: int) -> bytes:
    """The whole field with its line end. `now`: Unix seconds."""
    tags = [
        ["v=1;"],
        [f"a={signer.key.algorithm};"],
        ["c=relaxed/relaxed;"],
        [f"d={domain};"],
        [f"s={signer.selector};"],
        [f"t={now};"],
        _cut_after_colons(f"h={':'.join(what.names)};"),
        [f"bh={_base64(what.body)};"],
    ]
    unsigned = _folded([*tags, ["b="]])
    signed = what.fields + relaxed_field(_NAME, unsigned)
    return _NAME + b":" + unsigned + _folded_base64(_base64(signer.key.sign(signed)), unsigned) + b"\r\n"


def _folded(tags: Iterable[list[str]]) -> bytes:
    """Tags on lines of at most WIDTH, where they can be cut; a tag begins after a space, its parts go on without one."""
    lines, line = [], f"{_NAME.decode()}:"
    for tag in tags:
        for number, part in enumerate(tag):
            space = "" if number else " "
            if len(line) + len(space) + len(part) > WIDTH:
                lines.append(line)
                line, space = " ", ""
            line += space + part
    return "\r\n".join([*lines, line]).encode()[len(_NAME) + 1 :]


def _folded_base64(text: str, before: bytes) -> bytes:
    """White space in b= means nothing, so the signature may be written without knowing it while it is made."""
    used = len(before) - before.rfind(b"\n") - 1
    first = max(WIDTH - used, 0)
    lines = [text[:first], *(text[at : at + WIDTH - 1] for at in range(first, len(text), WIDTH - 1))]
    return "\r\n ".join(lines).encode()


def _cut_after_colons(text: str) -> list[str]:
    *parts, last = text.split(":")
    return [*(f"{each}:" for each in parts), last]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
