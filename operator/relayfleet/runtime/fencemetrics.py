"""What fencing has to say to Prometheus, gathered when it asks. Reasons are the words of cordons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from relayfleet.controllers.relayfences import Fences

_POOL = ["namespace", "pool"]


class FenceMetrics(Collector):
    """A collector for a registry."""

    def __init__(self, fences: Fences) -> None:
        self._fences = fences

    def collect(self) -> Iterator[Metric]:
        """All families."""
        now = GaugeMetricFamily("relayfleet_fenced_relays", "Relays that are cut off from the brokers.", labels=_POOL)
        for pool, number in self._fences.numbers().items():
            now.add_metric(list(pool), number)
        yield now
        yield self._counter(
            "relayfleet_fences",
            "Relays that were cut off from the brokers, by the reason of their cordon.",
            [*_POOL, "reason"],
            self._fences.counts.fences,
        )
        yield self._counter(
            "relayfleet_fence_returns", "Relays that may log in again.", _POOL, self._fences.counts.returns
        )
        yield self._counter(
            "relayfleet_fence_failures",
            "Looks at a queue at which its brokers' management interface did not do what was asked.",
            ["namespace", "queue"],
            self._fences.counts.failures,
        )

    @staticmethod
    def _counter(name: str, text: str, labels: list[str], counts: Mapping[Any, int]) -> Metric:
        family = CounterMetricFamily(name, text, labels=labels)
        for each, number in counts.items():
            family.add_metric(list(each), number)
        return family
