"""Which parts of the throughput bench run, and how long all of it may take. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

SLOW, UNLANED = "slow", "slow-no-lanes"
PARTS = ("relaying", "signing", "taking", "deferring", SLOW, UNLANED)
"""In the order in which they run: after `taking` Postfix relays no more."""

BURST_SECONDS = 20
"""Of new mail whose latency is measured."""
ALONE_BURSTS = 6
"""At most, for what it is with nothing beside it: by then p99 rests on more than a hundred mails."""

OTHERS_SECONDS = 3600.0
"""For all parts but those with a slow provider."""
AROUND_SECONDS = 900.0
"""What such a part may take besides its minutes: to put its mail, and to measure the same without it."""


def chosen(environment: Mapping[str, str]) -> list[str]:
    """The parts that THROUGHPUT_ROWS names, all when it says nothing, in their order. SystemExit says which it does not know."""
    wanted = {each for each in environment.get("THROUGHPUT_ROWS", "").split(",") if each} or set(PARTS)
    if unknown := wanted - set(PARTS):
        raise SystemExit(f"THROUGHPUT_ROWS: no {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
    return [each for each in PARTS if each in wanted]


def bursts(minutes: float) -> int:
    """So many, one after the other, last that long."""
    return max(math.ceil(minutes * 60 / BURST_SECONDS), 1)


def longest(parts: Sequence[str], minutes: float) -> float:
    """Seconds after which all of it is given up, once everything stands that it needs. `minutes`: for which a slow provider holds its sessions."""
    slow = sum(each in (SLOW, UNLANED) for each in parts)
    others = OTHERS_SECONDS if len(parts) > slow else 0.0
    return others + slow * (minutes * 60 + AROUND_SECONDS)
