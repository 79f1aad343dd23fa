"""Who may use an outbound address: the oldest SendingIP in the cluster that names it.

An address has one reputation, so it can have one owner only; two that sent by it would each spoil what the other warms up. Creation
times decide, so that a claim is never taken away by a newcomer, and no state of ours is needed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """One SendingIP's claim. `created` is its creation time as the API server writes it (RFC 3339 in UTC: sorts as text)."""

    namespace: str
    name: str
    uid: str
    address: str
    created: str

    @property
    def _rank(self) -> tuple[str, str, str]:
        return self.created, self.namespace, self.name


def normalised(address: str) -> str:
    """One spelling for one address: IPv6 compressed, IPv4-mapped IPv6 as IPv4. Text that is no address stays as it is."""
    try:
        parsed = ipaddress.ip_address(address.strip())
    except ValueError:
        return address.strip()
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def holder(mine: Claim, others: Iterable[Claim]) -> Claim:
    """Who holds the address that `mine` names: the oldest claim; of claims of the same second, the first by namespace and name."""
    same = [other for other in others if normalised(other.address) == normalised(mine.address)]
    return min([mine, *same], key=lambda claim: claim._rank)
