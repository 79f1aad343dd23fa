"""Which condition each relay gets in the Service's endpoints.

| relay                            | condition  | stock kube-proxy sends new connections        |
|----------------------------------|------------|-----------------------------------------------|
| serves, active                   | Ready      | by weight                                     |
| serves, and is leaving           | LastResort | only when none is Ready                       |
| serves, soft cordon              | LastResort | only when none is Ready                       |
| serves, hard cordon              | Out        | never                                         |
| does not serve                   | Out        | never                                         |

Never none: when that would leave nobody at all, whoever may still be able to serve is the last resort. First those under a hard cordon,
since all relays looking dead at once says more about who looks; then those whose probes fail, since on a machine that is out of breath
a probe fails before the service does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.relays import Relay
from relayfleet.decide.weights import Condition, Share

_SPARED: tuple[Callable[[Relay], bool], ...] = (
    lambda relay: relay.serves,
    lambda relay: not relay.leaving,
)
"""Who is taken back when nobody is left: the first of these groups that has members."""


def shares(relays: Sequence[Relay]) -> tuple[Share, ...]:
    """The share of each relay in the traffic, by name."""
    ordered = sorted(relays, key=lambda relay: relay.name)
    conditions = {relay.name: _condition(relay) for relay in ordered}
    if all(condition is Condition.OUT for condition in conditions.values()):
        conditions |= dict.fromkeys(_spared(ordered), Condition.LAST_RESORT)
    return tuple(Share(relay.name, conditions[relay.name], relay.weight) for relay in ordered)


def _condition(relay: Relay) -> Condition:
    if not relay.serves or relay.level is Level.HARD:
        return Condition.OUT
    if relay.leaving or relay.level is Level.SOFT:
        return Condition.LAST_RESORT
    return Condition.READY


def _spared(relays: Sequence[Relay]) -> list[str]:
    for belongs in _SPARED:
        if group := [relay.name for relay in relays if belongs(relay)]:
            return group
    return []
