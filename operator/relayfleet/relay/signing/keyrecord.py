"""Key records in DNS (RFC 6376 section 3.6.1, RFC 8463 section 4): what a key needs there, and whether it is there. Pure.

what is at `<selector>._domainkey.<domain>`           state
one key record with the public half of our key        Published
no name, no TXT record, or none that is a key record  Missing
one key record whose p= is empty                      Revoked
one with another key, or one that forbids mail or     Different
SHA-256; several, of which receivers take any
no resolver has ever answered                         Unknown
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from relayfleet.relay.signing.keys import Key

Answer = tuple[str, ...]
"""The TXT records of a name as in a zone file; () when there are none."""


class State(StrEnum):
    """What is known of a key in DNS."""

    PUBLISHED = "Published"
    MISSING = "Missing"
    REVOKED = "Revoked"
    DIFFERENT = "Different"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` goes on after the name: "has no TXT record"; "" when all is well or nothing is known."""

    state: State
    why: str = ""


def name_of(selector: str, domain: str) -> str:
    """Where the record is, without the last dot."""
    return f"{selector}._domainkey.{domain}"


def record_for(key: Key) -> str:
    """The record to publish, as one text."""
    return f"v=DKIM1; k={_kind(key)}; p={base64.b64encode(key.public[0]).decode()}"


def compare(found: Answer | None, key: Key) -> Verdict:
    """`found` None: nobody has answered yet."""
    if found is None:
        return Verdict(State.UNKNOWN)
    records = [tags for each in found if (tags := _key_record(each)) is not None]
    if not records:
        return Verdict(State.MISSING, "has TXT records, but no DKIM key among them" if found else "has no TXT record")
    if len(records) > 1:
        return Verdict(State.DIFFERENT, f"has {len(records)} DKIM key records, of which receivers take any")
    return _judge(records[0], key)


def _judge(tags: dict[str, str], key: Key) -> Verdict:
    if not tags["p"]:
        return Verdict(State.REVOKED, "says that the key is revoked (p= is empty)")
    if (kind := tags.get("k", "rsa")) != _kind(key):
        return Verdict(State.DIFFERENT, f"has a key of another kind (k={kind[:20]})")
    if "sha256" not in _listed(tags.get("h", "sha256")):
        return Verdict(State.DIFFERENT, "forbids SHA-256 (h=)")
    if not {"*", "email"} & _listed(tags.get("s", "*")):
        return Verdict(State.DIFFERENT, "forbids e-mail (s=)")
    if _decoded(tags["p"]) not in key.public:
        return Verdict(State.DIFFERENT, "has another key")
    return Verdict(State.PUBLISHED)


def _kind(key: Key) -> str:
    return key.algorithm.partition("-")[0]


def _listed(text: str) -> set[str]:
    return set(text.split(":"))


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _key_record(text: str) -> dict[str, str] | None:
    """Its tags without white space, which means nothing in those that we read; None: it is no key record, and receivers pass it over."""
    tags: dict[str, str] = {}
    for part in _joined(text).strip().removesuffix(";").split(";"):
        name, equals, value = part.partition("=")
        if not equals or name.strip() in tags:
            return None
        tags[name.strip()] = re.sub(r"\s+", "", value)
    return tags if "p" in tags and tags.get("v", "DKIM1") == "DKIM1" else None


def _joined(text: str) -> str:
    """A record's strings, put together without anything between them (RFC 6376 section 3.6.2.2)."""
    try:
        parsed = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, text)
    except dns.exception.DNSException:
        return ""
    strings: Sequence[bytes] = parsed.strings  # type: ignore[attr-defined]
    return b"".join(strings).decode(errors="replace")
