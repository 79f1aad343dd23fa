"""What health has to say to Prometheus, gathered when it asks. Reasons are the words of conditions and events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relayfleet.controllers.relayhealth import Health
from relayfleet.decide.health.words import Level

_POOL = ["namespace", "pool"]


class HealthMetrics(Collector):
    """A collector for a registry."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield self._relays()
        yield from self._suspects()
        yield self._changes()
        yield from self._health.detections.seconds.collect()
        yield from self._health.detections.latency.collect()
        counts = self._health.counts
        seen = CounterMetricFamily(
            "relayfleet_observations", "What probers saw, by vantage and kind.", labels=["vantage", "kind"]
        )
        for labels, number in counts.seen.items():
            seen.add_metric(labels, number)
        yield seen
        ignored = CounterMetricFamily("relayfleet_observations_ignored", "Observations that could not be used.")
        ignored.add_metric([], counts.ignored)
        yield ignored

    def _relays(self) -> Metric:
        family = GaugeMetricFamily(
            "relayfleet_relays",
            "Relays that are watched, by their level and its reason.",
            labels=[*_POOL, "level", "reason"],
        )
        verdicts = Counter((*pool, each.level.value, each.reason.value) for pool, each in self._health.verdicts())
        for labels, number in verdicts.items():
            family.add_metric(labels, number)
        return family

    def _suspects(self) -> Iterator[Metric]:
        """Of relays that something speaks against only, so that a large fleet in good health has few series."""
        total = GaugeMetricFamily(
            "relayfleet_relay_evidence", "Sum of the evidence against a relay.", labels=[*_POOL, "relay"]
        )
        age = GaugeMetricFamily(
            "relayfleet_relay_cordon_age_seconds", "How long a relay has been out of traffic.", labels=[*_POOL, "relay"]
        )
        for pool, each in self._health.verdicts():
            if each.total > 0:
                total.add_metric([*pool, each.relay], each.total)
            if each.level is not Level.ACTIVE:
                age.add_metric([*pool, each.relay], each.age)
        yield total
        yield age

    def _changes(self) -> Metric:
        family = CounterMetricFamily(
            "relayfleet_verdicts",
            "Changes of a relay's level, by level and reason.",
            labels=[*_POOL, "level", "reason"],
        )
        for labels, number in self._health.counts.verdicts.items():
            family.add_metric(labels, number)
        return family
