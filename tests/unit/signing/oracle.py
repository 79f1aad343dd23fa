"""The judge of signatures: dkimpy, which this project did not write. Keys come from a dict in the place of DNS."""

from __future__ import annotations

from collections.abc import Mapping

import dkim

from tests.unit.signing.keys import dns_text, ed25519_key, rsa_key

PUBLISHED: Mapping[str, bytes] = {
    "rsa1._domainkey.sender.test": dns_text(rsa_key()),
    "ed1._domainkey.sender.test": dns_text(ed25519_key()),
}


def unstuffed(message: bytes) -> bytes:
    """What a receiver has of the bytes on the wire."""
    return message.removeprefix(b".").replace(b"\r\n.", b"\r\n")


def verified(received: bytes, published: Mapping[str, bytes] = PUBLISHED) -> list[bool]:
    """For each signature from the top, whether it verifies."""

    def look_up(name: bytes, timeout: float = 5) -> bytes | None:
        return published.get(name.decode().rstrip("."))

    count = sum(name.lower() == b"dkim-signature" for name, _ in dkim.DKIM(received).headers)
    return [bool(_verify(received, index, look_up)) for index in range(count)]


def _verify(received: bytes, index: int, look_up: object) -> bool:
    try:
        return bool(dkim.DKIM(received).verify(idx=index, dnsfunc=look_up))
    except dkim.DKIMException:
        return False
