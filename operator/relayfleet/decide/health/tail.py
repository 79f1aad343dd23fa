"""How long a healthy relay is silent: measured, so that silence never counts for more than it is rare.

Every answer ends a silence (usually just its latency). A histogram of their lengths gives P(silence >= s | healthy): losses,
bursts of losses, pauses of the relay's node and its usual latency are all in it, whatever their cause. Before anything was
measured, losses are taken as independent.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

EDGES = (
    0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0,
)  # fmt: skip
"""Upper edges of the histogram's buckets, in seconds; one more bucket holds the rest."""

_PRIOR = 200.0
"""How many answers the prior is worth."""
_MEMORY = 2.0**21
"""Beyond so many answers all counts are halved: about six days of eight a second."""
_USUAL = 0.003
"""Latency that the prior expects, in seconds."""


@dataclass(frozen=True, slots=True)
class Tail:
    """`ended[i]` silences ended in bucket i, `total` in all."""

    ended: tuple[float, ...] = (0.0,) * (len(EDGES) + 1)
    total: float = 0.0

    def seen(self, length: float) -> Tail:
        """With one more silence that has ended after `length` seconds."""
        if self.total >= _MEMORY:
            return Tail(tuple(count / 2 for count in self.ended), self.total / 2).seen(length)
        bucket, ended = bisect.bisect_right(EDGES, length), self.ended
        return Tail((*ended[:bucket], ended[bucket] + 1.0, *ended[bucket + 1 :]), self.total + 1.0)

    def survival(self, length: float, loss: float, losses_per_second: float) -> float:
        """P(silence >= length | healthy). `losses_per_second` says how many probes a second would have to be lost for it.

        All of the bucket that `length` falls into counts as longer.
        """
        reached = sum(self.ended[bisect.bisect_right(EDGES, length) :])
        return (reached + _PRIOR * _prior(length, loss, losses_per_second)) / (self.total + _PRIOR)


def _prior(length: float, loss: float, losses_per_second: float) -> float:
    independent = math.exp(math.log(loss) * (1.0 + max(0.0, length - 0.03) * losses_per_second))
    return min(1.0, math.exp(-max(0.0, length) / _USUAL) + independent)
