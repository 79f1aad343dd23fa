"""What a SendingIP's status says."""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.decide.claims import Claim
from relayfleet.decide.statement import Statement


def statements(
    mine: Claim, held_by: Claim, region: str, operators_region: str, pools: Sequence[str]
) -> tuple[Statement, ...]:
    """Ready, Stalled, Reconciling, Degraded.

    One of another region is Ready: the same manifests go to every cluster, and where it is not used nothing is amiss.
    """
    if held_by != mine:
        return _claimed_by_another(mine, held_by)
    ready = _ready(region, operators_region, pools)
    return (ready, *(_fine(type_) for type_ in ("Stalled", "Reconciling", "Degraded")))


def _ready(region: str, operators_region: str, pools: Sequence[str]) -> Statement:
    if region != operators_region:
        return Statement(
            "Ready",
            "True",
            "OtherRegion",
            f"for the relays of region {region}; this cluster is region {operators_region}",
        )
    users = f"used by {', '.join(pools)}" if pools else "no RelayPool of this namespace selects it"
    return Statement("Ready", "True", "Claimed", users)


def _claimed_by_another(mine: Claim, held_by: Claim) -> tuple[Statement, ...]:
    message = (
        f"{mine.address} belongs to SendingIP {held_by.namespace}/{held_by.name}, which is older: "
        "delete one of the two; this one then goes on by itself"
    )
    return (
        Statement("Ready", "False", "AddressClaimed", message),
        Statement("Stalled", "True", "AddressClaimed", message),
        *(_fine(type_) for type_ in ("Reconciling", "Degraded")),
    )


def _fine(type_: str) -> Statement:
    return Statement(type_, "False", "AsAsked", "nothing to do")


def invalid(message: str) -> tuple[Statement, ...]:
    """The conditions of a SendingIP whose spec this operator cannot read."""
    return (
        Statement("Ready", "False", "SpecInvalid", message),
        Statement("Stalled", "True", "SpecInvalid", message),
        *(_fine(type_) for type_ in ("Reconciling", "Degraded")),
    )
