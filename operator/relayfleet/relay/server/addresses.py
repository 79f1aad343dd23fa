"""The syntax of a mailbox, `local@domain`, with the limits of RFC 5321 and the non-ASCII characters of RFC 6531.

Local parts are dot-strings or quoted strings; domains are names or address literals. What does not fit here would be refused by
the next server, or read differently by it, so it is refused before anything is accepted.
"""

from __future__ import annotations

import ipaddress
import re

LOCAL_OCTETS = 64
PATH_OCTETS = 256
"""With its angle brackets, so a mailbox has two less."""

_WIDE = "\u0080-\U0010ffff"
_ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_WIDE}-]++"
_QUOTED = rf'"(?:[ !#-\[\]-~{_WIDE}]|\\[ -~])*+"'
_LABEL = rf"[A-Za-z0-9{_WIDE}](?:[A-Za-z0-9{_WIDE}-]{{0,61}}[A-Za-z0-9{_WIDE}])?"
_MAILBOX = re.compile(rf"({_ATOM}(?:\.{_ATOM})*+|{_QUOTED})@(?:({_LABEL}(?:\.{_LABEL})*)|\[([^\[\]\\ ]+)\])")
_HOST = re.compile(r"[A-Za-z0-9._:%\[\]-]{1,255}")


def is_mailbox(text: str) -> bool:
    """Whether `text` (printable, decoded) is a mailbox."""
    match = _MAILBOX.fullmatch(text)
    if match is None:
        return False
    local, domain, literal = match.groups()
    octets = len if text.isascii() else _octets
    if octets(local) > LOCAL_OCTETS or octets(text) > PATH_OCTETS - 2:
        return False
    return domain is not None or is_literal(literal)


def is_literal(text: str) -> bool:
    """Whether the inside of an address literal is an IPv4 address, or `IPv6:` and an IPv6 address."""
    try:
        if text[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(text[5:])
        else:
            ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return "%" not in text


def is_host(text: str) -> bool:
    """Whether a client may call itself so. Looser than a domain: clients send odd names, and it only ends in a Received header."""
    return _HOST.fullmatch(text) is not None


def _octets(text: str) -> int:
    return len(text.encode())
