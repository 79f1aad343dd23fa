"""What the links to relays have to say to Prometheus, gathered when it asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relayfleet.runtime.relaylinks import RelayLinks

_POOL = ["namespace", "pool"]


class LinkMetrics(Collector):
    """A collector for a registry."""

    def __init__(self, links: RelayLinks) -> None:
        self._links = links

    def collect(self) -> Iterator[Metric]:
        """All families."""
        up = GaugeMetricFamily(
            "relayfleet_control_links",
            "Relays that tell the leader of their traffic and take its orders.",
            labels=_POOL,
        )
        for pool, number in self._links.up().items():
            up.add_metric(list(pool), number)
        yield up
        windows = CounterMetricFamily(
            "relayfleet_relay_windows",
            "Windows of live traffic that relays told of: taken, dropped (too many), garbled (no window at all).",
            labels=[*_POOL, "outcome"],
        )
        for labels, number in self._links.windows.items():
            windows.add_metric(labels, number)
        yield windows
