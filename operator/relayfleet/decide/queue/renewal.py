"""When the brokers' certificate is made anew. The CA that signs it stays, so relays notice nothing."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from dataclasses import dataclass

VALIDITY = datetime.timedelta(days=90)
MARGIN = datetime.timedelta(days=30)
"""A certificate is renewed so long before it ends: a month in which the operator may be away."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server certificate says. `signed`: by the CA that we have; `paired`: the key beside it is its own."""

    not_after: datetime.datetime
    hosts: frozenset[str]
    signed: bool
    paired: bool


def needs_renewal(
    found: Certificate | None, hosts: Collection[str], now: datetime.datetime, margin: datetime.timedelta = MARGIN
) -> str:
    """Why a new certificate is due; empty when the one that is there will do. `found` None: there is none that can be read."""
    if found is None:
        return "there is none"
    if not found.signed:
        return "it is signed by another authority"
    if not found.paired:
        return "its key is another one"
    if not found.hosts >= set(hosts):
        return "it lacks names"
    if found.not_after - now < margin:
        return f"it ends on {found.not_after:%Y-%m-%d}"
    return ""
