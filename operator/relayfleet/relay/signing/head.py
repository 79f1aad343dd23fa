"""The head of a message as a signer sees it: its fields in order, and whose mail it is by its From. Pure.

Receivers differ in what they make of a head that is no head, of two From fields, or of an author that cannot be read. What such a mail's
signature would vouch for is anybody's guess, so it gets none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.routing.mx import domain_of

MOST_BYTES, MOST_FIELDS = 256 * 1024, 1000
"""A longer head is not signed: it is read in the event loop, and each field that is signed is named in the signature."""
_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\\.|[()]|[^"\\()]+', re.DOTALL)
_ANGLE = re.compile(r"[^<>]*<([^<>]*)>\s*")


class HeadError(ValueError):
    """The mail cannot be signed; the text says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """`fields`: names in lower case with what follows the colon, without the last line end; `body_at`: where the body begins."""

    fields: tuple[tuple[bytes, bytes], ...]
    body_at: int


def read(message: bytes) -> Head:
    """The head of a dot-stuffed message. Raises HeadError."""
    if message.startswith(b"\r\n"):
        return Head((), 2)
    end = message.find(b"\r\n\r\n", 0, MOST_BYTES)
    if end < 0 and len(message) > MOST_BYTES:
        raise HeadError(f"its head is longer than {MOST_BYTES >> 10} KiB")
    head = message[:end] if end >= 0 else message.removesuffix(b"\r\n")
    return Head(_fields(head), end + 4 if end >= 0 else len(message))


def author_domain(head: Head) -> str:
    """The domain of From as it goes into DNS: A-labels, lower case. Raises HeadError unless there is exactly one."""
    values = [value for name, value in head.fields if name == b"from"]
    if len(values) != 1:
        raise HeadError(f"it has {len(values)} From fields")
    try:
        domains = {domain_of(address) for address in _addresses(values[0].decode(errors="replace"))}
    except DnsPermanent as error:
        raise HeadError(f"its From cannot be read: {error}") from error
    if len(domains) != 1:
        raise HeadError("its From names several domains")
    return domains.pop()


def _fields(head: bytes) -> tuple[tuple[bytes, bytes], ...]:
    fields: list[tuple[bytes, bytes]] = []
    for stuffed in head.split(b"\r\n"):
        line = stuffed.removeprefix(b".")
        if line[:1] in (b" ", b"\t") and fields:
            name, value = fields[-1]
            fields[-1] = name, value + b"\r\n" + line
        elif match := _NAME.match(line):
            fields.append((match[1].lower(), line[match.end() :]))
        else:
            raise HeadError("its head has a line that is no field")
    if len(fields) > MOST_FIELDS:
        raise HeadError(f"its head has more than {MOST_FIELDS} fields")
    return tuple(fields)


def _addresses(value: str) -> list[str]:
    """The addresses of a From field. Groups and routes are not read: nobody writes them."""
    plain = _without_comments(value)
    if re.search("[:;]", plain):
        raise HeadError("its From is a group or a route")
    return [_address(each) for each in plain.split(",")]


def _address(mailbox: str) -> str:
    match = _ANGLE.fullmatch(mailbox)
    address = (match[1] if match else mailbox).strip()
    local, at, domain = address.partition("@")
    if not (local.strip() and at and domain) or re.search(r"[\s<>@]", domain):
        raise HeadError("its From is no address")
    return address


def _without_comments(value: str) -> str:
    """Unfolded, without comments, and with a letter in the place of quoted strings, which may hold anything."""
    kept, depth = [], 0
    tokens = _TOKEN.findall(value.replace("\r\n", ""))
    if len("".join(tokens)) != len(value.replace("\r\n", "")):
        raise HeadError("its From has an open quote")
    for token in tokens:
        depth += (token == "(") - (token == ")")
        if depth < 0:
            break
        if not depth and token != ")":
            kept.append("q" if token.startswith('"') else token)
    if depth:
        raise HeadError("its From has an open comment")
    return "".join(kept)
