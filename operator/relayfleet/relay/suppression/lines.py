"""What a line of a suppression list means, and when an address is meant by it. Pure.

    bob@example.org        this address
    @example.org           each address of this domain, not of those below it
    # words, or after an entry

Addresses are compared without case, local parts too: no receiver that matters tells `Bob` from `bob`, and one mail too few is what a list is for.
Domains are compared as they go into DNS, and a quoted local part as what it stands for, so that nobody gets past a list by writing it in
another way. Tags (`bob+news@`) are part of an address.
"""

from __future__ import annotations

import re
import unicodedata

from relayfleet.relay.routing.errors import DnsPermanent
from relayfleet.relay.routing.mx import domain_of
from relayfleet.relay.server.addresses import is_mailbox

_REMARK = re.compile(r"\s#.*")
_ESCAPED = re.compile(r"\\(.)")


def names(address: str) -> tuple[str, ...]:
    """The normal forms of the lines that mean this address: itself and its domain. None when it has no domain."""
    try:
        whole = normal(address)
    except DnsPermanent:
        return ()
    return whole, "@" + whole.rpartition("@")[2]


def normal(entry: str) -> str:
    """An address, or `@domain`, as it is compared. Raises DnsPermanent when its domain can be none."""
    local = entry.rpartition("@")[0]
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = _ESCAPED.sub(r"\1", local[1:-1])
    folded = local.lower() if local.isascii() else unicodedata.normalize("NFC", local.casefold())
    return f"{folded}@{domain_of(entry)}"


def read(line: str) -> str | None:
    """The normal form of the entry in a line, "" when there is none. None: nobody can say who is meant."""
    text = line.strip()
    if text.startswith("#"):
        return ""
    if "#" in text and not text.startswith('"'):
        text = _REMARK.sub("", text)
    if not text:
        return ""
    # `*@example.org` is an address to RFC 5321, but nobody who writes it means that.
    if text.startswith("*@") or not is_mailbox(f"x{text}" if text.startswith("@") else text):
        return None
    try:
        return normal(text)
    except DnsPermanent:
        return None
