"""What is seen of brokers has to say to Prometheus, gathered when it asks. Reasons are the words of conditions and events."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from relayfleet.controllers.brokersights import BUCKETS, BrokerSights, Figures

_BROKER = ["namespace", "queue", "broker"]


class BrokerMetrics(Collector):
    """A collector for a registry."""

    def __init__(self, sights: BrokerSights) -> None:
        self._sights = sights

    def collect(self) -> Iterator[Metric]:
        """All families."""
        confirms = HistogramMetricFamily(
            "relayfleet_broker_confirm_seconds",
            "Time that a broker took to confirm a record of the probers'.",
            labels=_BROKER,
        )
        age = GaugeMetricFamily(
            "relayfleet_broker_confirmed_age_seconds",
            "Time since a broker last confirmed a record of the probers'.",
            labels=_BROKER,
        )
        failures = CounterMetricFamily(
            "relayfleet_broker_probe_failures",
            "Words of probers about a broker that did not answer, by kind; a silence is told of again while it lasts.",
            labels=[*_BROKER, "kind"],
        )
        silent = GaugeMetricFamily(
            "relayfleet_broker_silent",
            "Brokers that the status names, by reason.",
            labels=[*_BROKER, "reason"],
        )
        for queue, pod, figures, last, said in self._sights.figures():
            labels = [*queue, pod]
            confirms.add_metric(labels, buckets=_buckets(figures), sum_value=figures.seconds)
            if last is not None:
                age.add_metric(labels, last)
            for kind, number in figures.failures.items():
                failures.add_metric([*labels, kind], number)
            if said is not None:
                silent.add_metric([*labels, said.reason], 1)
        yield from (confirms, age, failures, silent)


def _buckets(figures: Figures) -> list[tuple[str, float]]:
    """Counts up to each bound, as Prometheus has them."""
    bounds, total, found = (*map(str, BUCKETS), "+Inf"), 0, []
    for bound, number in zip(bounds, figures.confirms, strict=True):
        total += number
        found.append((bound, float(total)))
    return found
