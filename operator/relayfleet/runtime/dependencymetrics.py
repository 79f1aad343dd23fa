"""What the leader knows of dependencies and resolvers has to say to Prometheus, gathered when it asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relayfleet.controllers.relaydependencies import Reports


class DependencyMetrics(Collector):
    """A collector for a registry."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def collect(self) -> Iterator[Metric]:
        """All families."""
        family = GaugeMetricFamily(
            "relayfleet_dependency_relays",
            "Relays that see a dependency of their pool so: Answers, OnBackup, Down or Unknown (not asked yet).",
            labels=["namespace", "pool", "dependency", "state"],
        )
        for pool, dependency, state, number in self._reports.counts():
            family.add_metric([*pool, dependency, state], number)
        yield family
        family = GaugeMetricFamily(
            "relayfleet_resolver_relays",
            "Relays that see a DNS resolver so: Answers, Down or Unknown (not asked yet).",
            labels=["namespace", "pool", "resolver", "state"],
        )
        for pool, resolver, state, number in self._reports.resolver_counts():
            family.add_metric([*pool, resolver, state], number)
        yield family
