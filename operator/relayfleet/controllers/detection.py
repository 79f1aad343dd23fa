"""How long it took from the first sign against a relay until it was judged, and until no slice listed it; and how long relays take to answer probes.

The first sign is the oldest observation that speaks against a relay since nothing did, or since nothing new did for `GAP`: of a silence, when the
probe was sent. The fault itself was before it, by as much as half a probe's interval on average.
"""

from __future__ import annotations

import bisect
import itertools
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from prometheus_client import Histogram
from prometheus_client.core import HistogramMetricFamily, Metric

from relayfleet.controllers.evidence import PoolName, good
from relayfleet.decide.health.evidence import Evidence, NodeFact, Silent
from relayfleet.decide.health.verdict import Verdict
from relayfleet.decide.health.words import Level

log = logging.getLogger(__name__)

GAP = 10.0
"""Seconds without another sign after which the next one is the first of something else, though the evidence of before is not forgotten yet. The
slowest probes are half as far apart."""
JUDGED, UNLISTED = "judged", "unlisted"
_DETECTION = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_LATENCY = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Latencies:
    """How long relays took to answer probes, by vantage and kind of probe. A library's histogram takes a lock for each of thousands of answers a
    second; this one is written by one thread."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._sums: defaultdict[tuple[str, str], float] = defaultdict(float)

    def answered(self, vantage: str, probe: str, latency: float) -> None:
        """A probe was answered after `latency` seconds."""
        series = vantage, probe
        if series not in self._counts:
            self._counts[series] = [0] * (len(_LATENCY) + 1)
        self._counts[series][bisect.bisect_left(_LATENCY, latency)] += 1
        self._sums[series] += latency

    def collect(self) -> Iterator[Metric]:
        """The family, for Prometheus."""
        family = HistogramMetricFamily(
            "relayfleet_probe_latency_seconds", "How long relays took to answer probes.", labels=("vantage", "probe")
        )
        for series, counts in self._counts.items():
            edges = (*map(str, _LATENCY), "+Inf")
            buckets = list(zip(edges, itertools.accumulate(counts), strict=True))
            family.add_metric(series, buckets, self._sums[series])
        yield family


class Detections:
    """Of all pools, since this leader came. `seconds` and `latency` are for Prometheus."""

    def __init__(self) -> None:
        self.seconds = Histogram(
            "relayfleet_detection_seconds",
            "From the first sign against a relay until it was judged, or until no slice listed it.",
            ("namespace", "pool", "until"),
            buckets=_DETECTION,
            registry=None,
        )
        self.latency = Latencies()
        self._signs: defaultdict[PoolName, dict[str, tuple[float, float]]] = defaultdict(dict)  # the first and the last
        self._listed: defaultdict[PoolName, dict[str, tuple[float, float]]] = defaultdict(dict)

    def heard(self, pool: PoolName, batch: Iterable[Evidence]) -> None:
        """Remember first signs."""
        for each in batch:
            if not isinstance(each, NodeFact) and not good(each):
                first, last = self._signs[pool].get(each.relay, (_began(each), each.at))
                self._signs[pool][each.relay] = (first if each.at - last <= GAP else _began(each), max(each.at, last))

    def judged(self, pool: PoolName, before: Collection[str], verdicts: Iterable[Verdict], now: float) -> None:
        """What was decided; `before`: the relays that were in traffic until now."""
        signs = self._signs.get(pool)
        if not signs:
            return
        for each in verdicts:
            if each.relay not in signs:
                continue
            sign, _ = signs[each.relay]
            if each.level is not Level.ACTIVE:
                if each.relay in before:
                    self.seconds.labels(*pool, JUDGED).observe(now - sign)
                    self._listed[pool][each.relay] = sign, now
            elif each.total == 0:
                del signs[each.relay]
                self._listed[pool].pop(each.relay, None)

    def wants_to_know(self, pool: PoolName) -> bool:
        """Whether a relay was judged that may still be listed."""
        return bool(self._listed.get(pool))

    def unlisted(self, pool: PoolName, listed: Collection[str], now: float) -> None:
        """The slices list these relays as ready, and no others."""
        judged = self._listed.pop(pool, {})
        for relay, (sign, at) in judged.items():
            if relay in listed:
                self._listed[pool][relay] = sign, at
                continue
            self.seconds.labels(*pool, UNLISTED).observe(now - sign)
            log.info(
                "relay %s of %s/%s is out of the slices %.3f s after the first sign, and was judged after %.3f s",
                relay,
                *pool,
                now - sign,
                at - sign,
            )

    def keep(self, pool: PoolName, relays: Collection[str]) -> None:
        """The pool has these relays, and no others."""
        for gone in self._signs.get(pool, {}).keys() - set(relays):
            del self._signs[pool][gone]
            self._listed.get(pool, {}).pop(gone, None)

    def forget(self, pool: PoolName) -> None:
        """The pool is gone."""
        if self._signs.pop(pool, None) is not None:
            for until in (JUDGED, UNLISTED):
                self.seconds.remove(*pool, until)
        self._listed.pop(pool, None)


def _began(each: Evidence) -> float:
    return min((each.at, *each.sent)) if isinstance(each, Silent) else each.at
