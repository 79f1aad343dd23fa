"""The delivery rules as relays are told of them, and what a pod template says of relays that follow them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from relayfleet.api.deliveryrules import DeliveryRule
from relayfleet.api.labels import FOLLOWS
from relayfleet.protocol import relay_config

_RULES, _REQUEUE = "DeliveryRules", "Requeue"
ABILITY = {FOLLOWS: f"{_RULES},{_REQUEUE}"}
"""Annotation of the pods of an operator that knows of rules, and with the operator's own image of relays that do. Requeue came later, and is named for itself."""


def told(stated: Sequence[DeliveryRule]) -> tuple[relay_config.DeliveryRule, ...]:
    """By name, since their order means nothing: to sort the list is no news."""
    return tuple(
        relay_config.DeliveryRule(each.name, each.action, _terms(each)) for each in sorted(stated, key=lambda r: r.name)
    )


def followed(stated: Sequence[DeliveryRule], template: dict[str, Any]) -> bool:
    """Whether the pods of this template follow these rules, as far as the operator knows."""
    known = template.get("metadata", {}).get("annotations", {}).get(FOLLOWS, "").split(",")
    needed = {_REQUEUE if each.action == _REQUEUE else _RULES for each in stated}
    return needed <= set(known)


def _terms(rule: DeliveryRule) -> tuple[relay_config.RuleTerm, ...]:
    return tuple(relay_config.RuleTerm(what, _text(value)) for what, value in sorted(rule.match.as_dict().items()))


def _text(value: Any) -> str:
    """Words that this operator does not know may have values of any kind."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
