"""How silent a healthy relay is: measured, so that silence never counts for more than it is rare.

Two histograms of one relay. One holds how long probes stay unanswered: P(unanswered >= t | healthy) weighs a single open probe
against the relay's usual latency and loss. The other holds how many probes were open at once when an answer came at last:
P(so many open | healthy) bounds what they may weigh together, because losses that come in bursts, or while the relay's node
stands still, share their cause. Before anything was measured, losses are taken as independent.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

EDGES = (
    0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0,
)  # fmt: skip
"""Upper edges of the buckets of the first histogram, in seconds; one more bucket holds the rest, lost probes among it."""
MOST = 16
"""The last bucket of the second histogram: so many open probes or more."""

_PRIOR = 200.0
"""How many answers the prior is worth."""
_MEMORY = 2.0**21
"""Beyond so many answers all counts are halved: about three days of eight a second."""
_USUAL = 0.003
"""Latency that the prior expects, in seconds."""

Counts = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Tail:
    """`latencies[i]` probes ended in bucket i; `open[k]` answers came when k probes were open. `probes`, `answers`: how many in all."""

    latencies: Counts = (0.0,) * (len(EDGES) + 1)
    open: Counts = (0.0,) * (MOST + 1)
    probes: float = 0.0
    answers: float = 0.0

    def seen(self, latency: float, lost: int, still_open: int) -> Tail:
        """With one more answer, `lost` probes given up on by it, and `still_open` suspicious ones that it refutes."""
        if self.answers >= _MEMORY:
            return self._halved().seen(latency, lost, still_open)
        latencies = _counted(self.latencies, bisect.bisect_right(EDGES, latency), 1.0)
        if lost:
            latencies = _counted(latencies, len(EDGES), float(lost))
        return Tail(
            latencies,
            _counted(self.open, min(still_open, MOST), 1.0),
            self.probes + 1.0 + lost,
            self.answers + 1.0,
        )

    def late_comer(self, latency: float) -> Tail:
        """With an answer that a younger probe's had overtaken."""
        latencies = _counted(self.latencies, bisect.bisect_right(EDGES, latency), 1.0)
        return Tail(latencies, self.open, self.probes + 1.0, self.answers)

    def unanswered(self, length: float, loss: float) -> float:
        """P(a probe is unanswered for `length` seconds | healthy). All of the bucket that it falls into counts as longer."""
        reached = sum(self.latencies[bisect.bisect_right(EDGES, length) :])
        prior = min(1.0, loss + math.exp(-max(0.0, length) / _USUAL))
        return (reached + _PRIOR * prior) / (self.probes + _PRIOR)

    def together(self, count: int, loss: float) -> float:
        """P(so many probes are open at once | healthy)."""
        reached = sum(self.open[min(count, MOST) :])
        return (reached + _PRIOR * loss ** min(count, 100)) / (self.answers + _PRIOR)

    def _halved(self) -> Tail:
        return Tail(_half(self.latencies), _half(self.open), self.probes / 2, self.answers / 2)


def _half(counts: Counts) -> Counts:
    return tuple(count / 2 for count in counts)


def _counted(counts: Counts, bucket: int, by: float) -> Counts:
    return (*counts[:bucket], counts[bucket] + by, *counts[bucket + 1 :])
