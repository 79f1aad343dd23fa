"""The delivery rules as relays are told of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from relayfleet.api.deliveryrules import DeliveryRule
from relayfleet.protocol import relay_config


def told(stated: Sequence[DeliveryRule]) -> tuple[relay_config.DeliveryRule, ...]:
    """By name, since their order means nothing: to sort the list is no news."""
    return tuple(
        relay_config.DeliveryRule(each.name, each.action, _terms(each)) for each in sorted(stated, key=lambda r: r.name)
    )


def _terms(rule: DeliveryRule) -> tuple[relay_config.RuleTerm, ...]:
    return tuple(relay_config.RuleTerm(what, _text(value)) for what, value in sorted(rule.match.as_dict().items()))


def _text(value: Any) -> str:
    """Words that this operator does not know may have values of any kind."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
