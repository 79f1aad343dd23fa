"""How far off a perfect balancer would be: the largest error among the relays when every connection is drawn independently."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

ROUNDS = 400
"""Fleets of connections that are drawn: enough for a 99th percentile."""


@lru_cache
def spread(shares: tuple[float, ...], count: int, seed: int) -> dict[str, float]:
    """Median and 99th percentile of the largest error, and the largest standard error, all in percentage points."""
    order = random.Random(seed)
    errors = [_drawn(shares, count, order) for _ in range(ROUNDS)]
    widest = max(share * (1 - share) for share in shares)
    return {
        "median": round(statistics.median(errors), 3),
        "p99": round(statistics.quantiles(errors, n=100)[-1], 3),
        "standard_error": round(100 * (widest / count) ** 0.5, 3),
        "rounds": ROUNDS,
    }


def _drawn(shares: Sequence[float], count: int, order: random.Random) -> float:
    found = Counter(order.choices(range(len(shares)), weights=shares, k=count))
    return largest(shares, [found[number] for number in range(len(shares))])


def largest(shares: Sequence[float], accepted: Sequence[int]) -> float:
    """The largest |measured − wanted| share, in percentage points."""
    total = sum(accepted)
    return max(100 * abs(got / total - share) for share, got in zip(shares, accepted, strict=True))
