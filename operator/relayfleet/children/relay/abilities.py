"""What a pod template says of its relays: which configuration they follow that relays from before it pay no heed to.

An operator that is upgraded restarts no relay. So what the user asks for first, and the pods of an older template know nothing of, replaces them once.
"""

from __future__ import annotations

from typing import Any

from relayfleet.api.labels import FOLLOWS
from relayfleet.api.relaypool import BULK, BY_PROVIDER, PARK, RelayPoolSpec

_RULES, _REQUEUE, _LANES, _PARKING, _BULK = "DeliveryRules", "Requeue", "ProviderLanes", "Parking", "Bulk"
ABILITY = {FOLLOWS: f"{_RULES},{_REQUEUE},{_LANES},{_PARKING},{_BULK}"}
"""Annotation of the pods of this operator, and with its own image of relays that follow all of these. What came later is named for itself."""


def followed(spec: RelayPoolSpec, template: dict[str, Any]) -> bool:
    """Whether the pods of this template follow what the pool asks for, as far as the operator knows."""
    known = template.get("metadata", {}).get("annotations", {}).get(FOLLOWS, "").split(",")
    needed = {_REQUEUE if each.action == _REQUEUE else _RULES for each in spec.delivery_rules}
    if spec.delivery.provider_lanes == BY_PROVIDER:
        needed.add(_LANES)
    if spec.delivery.dead_destinations == PARK:
        needed.add(_PARKING)
    if spec.pool_class == BULK:
        needed.add(_BULK)
    return needed <= set(known)
