"""The DNS resolvers that a pool names, as its relays are told of them and as relays name them to the leader."""

from __future__ import annotations

from collections.abc import Sequence

PORT = 53
"""The only one: relays may reach no other for DNS (`networkpolicy`), and stub resolvers know no other."""


def told(addresses: Sequence[str]) -> tuple[str, ...]:
    """Address and port of each, in the user's order: the first that answers is asked first."""
    return tuple(f"[{each}]:{PORT}" if ":" in each else f"{each}:{PORT}" for each in addresses)
