"""Weight lanes: which EndpointSlice lists which relay, and which slice is written first.

Stock kube-proxy knows no weights, but counts one address with several port numbers as several endpoints. So a relay of
weight k is listed in k *lanes*, slices that name one port number each. A relay is in a lane at most once and each lane has a
port of its own, so no address and port is ever listed twice (readiness would then come out at random).

A cordon should be one write: kube-proxy takes the first change at once and the next up to a second later. So weights are
reduced by their common divisor (equal weights need one lane), and the slice that takes most traffic off cordoned relays goes
first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

QUARTERS = 4
"""Full weight, and the largest number of lanes."""


class Condition(StrEnum):
    """What an endpoint's three conditions say together."""

    READY = "Ready"
    LAST_RESORT = "LastResort"
    OUT = "Out"


@dataclass(frozen=True, slots=True)
class Share:
    """One relay's part in the traffic: its endpoints' condition and its weight in quarters (0 to 4)."""

    relay: str
    condition: Condition
    quarters: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A relay as one lane lists it."""

    relay: str
    condition: Condition


Lane = tuple[Endpoint, ...]
"""The endpoints of one slice, by name of relay. Lane number k is served at the k-th port of a listener."""


def lanes(shares: Sequence[Share]) -> tuple[Lane, ...]:
    """The lanes, the first one first. Raises ValueError for a relay named twice or a weight out of range.

    The divisor is that of the ready relays alone; the others keep their lanes, so that a cordon is a flip of conditions in
    place. A relay of weight 0 is listed, ready, in no lane; when no ready relay has a weight, all have the same.
    """
    names = [share.relay for share in shares]
    if len(set(names)) < len(names):
        raise ValueError(f"relay listed twice: {sorted(name for name in set(names) if names.count(name) > 1)}")
    if wrong := [share for share in shares if not 0 <= share.quarters <= QUARTERS]:
        raise ValueError(f"weight of {wrong[0].relay} is {wrong[0].quarters}: it must be between 0 and {QUARTERS}")
    counts = _counts(shares)
    return tuple(
        tuple(Endpoint(share.relay, share.condition) for share in _by_name(shares) if counts[share.relay] > lane)
        for lane in range(max(counts.values(), default=0))
    )


def _by_name(shares: Sequence[Share]) -> list[Share]:
    return sorted(shares, key=lambda share: share.relay)


def _counts(shares: Sequence[Share]) -> dict[str, int]:
    """In how many lanes each relay is listed."""
    ready = [share.quarters for share in shares if share.condition is Condition.READY]
    if not any(ready):
        return {share.relay: 1 for share in shares}
    divisor = math.gcd(*ready)
    most = max(ready) // divisor
    return {share.relay: _count(share, divisor, most) for share in shares}


def _count(share: Share, divisor: int, most: int) -> int:
    if share.condition is Condition.READY:
        return share.quarters // divisor
    return min(most, max(1, math.ceil(share.quarters / divisor)))


def order_of_writes(before: Sequence[Lane], after: Sequence[Lane]) -> tuple[int, ...]:
    """The numbers of the lanes that differ, in the order in which to write them.

    First the lane that takes most ready endpoints of cordoned relays out, then lanes that add ready endpoints, then those that
    only take away: until the last write no relay gets more than it should for want of another one.
    """
    changed = [lane for lane in range(max(len(before), len(after))) if _lane(before, lane) != _lane(after, lane)]
    return tuple(sorted(changed, key=lambda lane: _urgency(_lane(before, lane), _lane(after, lane), lane)))


def _urgency(before: Lane, after: Lane, number: int) -> tuple[int, int, int]:
    was, now = _ready(before), _ready(after)
    cordoned = {each.relay for each in after if each.condition is not Condition.READY}
    return (-len(was & cordoned), -len(now - was), number)


def _lane(lanes_: Sequence[Lane], number: int) -> Lane:
    return lanes_[number] if number < len(lanes_) else ()


def _ready(lane: Lane) -> set[str]:
    return {each.relay for each in lane if each.condition is Condition.READY}
