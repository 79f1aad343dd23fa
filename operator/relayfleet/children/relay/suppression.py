"""The Secrets with the suppression list: as a volume, and as relays are told of them."""

from __future__ import annotations

from typing import Any

from relayfleet.api.suppression import SuppressionList
from relayfleet.children.relay import projected
from relayfleet.protocol.relay_config import SuppressionEntry


def volume(stated: SuppressionList) -> dict[str, Any]:
    """The projected volume."""
    return projected.volume((each.name, each.key) for each in stated.secret_refs)


def told(stated: SuppressionList | None) -> tuple[SuppressionEntry, ...]:
    """The files, in an order that does not follow the user's: to sort the list is no news."""
    found = sorted({(each.name, each.key) for each in stated.secret_refs}) if stated else ()
    return tuple(SuppressionEntry(name, key) for name, key in found)
