"""The conditions of brokers that somebody else runs: can a majority of their addresses be reached?

Reached from the operator, which is not where relays are, so an address that does not answer is a warning, and only a lost majority makes
the queue not ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relayfleet.decide.queue.versions import oldest, why_unsupported
from relayfleet.decide.statement import Statement


@dataclass(frozen=True, slots=True)
class Address:
    """One broker as host:port; `failure` says why no connection came about, empty when it did. `version`: as it says itself, "" when not known."""

    address: str
    failure: str = ""
    version: str = ""


def statements(addresses: Sequence[Address], keys_lost: str = "") -> tuple[Statement, ...]:
    """Ready, Degraded, Reconciling, Stalled. `keys_lost`: what to do about sealing keys that are lost, or ""."""
    failed = [each for each in addresses if each.failure]
    answered = len(addresses) - len(failed)
    count = f"{answered} of {len(addresses)} addresses answer"
    causes = "; ".join(f"{each.address}: {each.failure}" for each in failed[:3])
    ready = answered > len(addresses) // 2
    cure = "check spec.external.addresses and the network between this cluster and the brokers"
    trouble = f"{count} ({causes}): {cure}"
    return (
        Statement("Ready", "True", "Serving", count)
        if ready
        else Statement("Ready", "False", "BrokerUnreachable", trouble),
        _degraded(trouble if failed else "", keys_lost, _outdated(addresses)),
        Statement("Reconciling", "False", "AsAsked", "the operator changes nothing there"),
        Statement("Stalled", "True", "SealingKeysLost", keys_lost)
        if keys_lost
        else Statement("Stalled", "False", "AsAsked", "nothing needs a person"),
    )


def _outdated(addresses: Sequence[Address]) -> str:
    """What is wrong with the first of the oldest, or ""."""
    first = oldest(each.version for each in addresses)
    address = next((each.address for each in addresses if each.version == first), "")
    why = why_unsupported(first)
    return f"{address}: {why}" if why else ""


def _degraded(trouble: str, keys_lost: str, outdated: str) -> Statement:
    if keys_lost:
        return Statement("Degraded", "True", "SealingKeysLost", keys_lost)
    if trouble:
        return Statement("Degraded", "True", "BrokerUnreachable", trouble)
    if outdated:
        return Statement("Degraded", "True", "VersionUnsupported", outdated)
    return Statement("Degraded", "False", "AsAsked", "nothing is missing")
