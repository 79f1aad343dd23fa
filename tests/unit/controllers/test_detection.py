"""How long detections took, as Prometheus is told."""

from __future__ import annotations

import pytest

from relayfleet.controllers.detection import GAP, JUDGED, UNLISTED, Detections, Latencies
from relayfleet.decide.health.evidence import Answered, Probe, Refused, Silent
from relayfleet.decide.health.verdict import Verdict
from relayfleet.decide.health.words import Level, Reason

POOL = ("mail", "tx")


def _verdict(level: Level, total: float) -> Verdict:
    return Verdict("tx-1", level, 4, Reason.SILENT, "", total, (), 0.0)


def _refused(at: float) -> Refused:
    return Refused("tx-1", "op-1", "pod", Probe.DIALOGUE, at)


def _told(detections: Detections, until: str) -> tuple[int, float]:
    """How many there were, and their sum."""
    samples = {
        each.name: each.value
        for family in detections.seconds.collect()
        for each in family.samples
        if each.labels.get("until") == until and "le" not in each.labels
    }
    return int(samples.get("relayfleet_detection_seconds_count", 0)), samples.get(
        "relayfleet_detection_seconds_sum", 0.0
    )


def test_from_the_first_sign_to_the_judgement_and_to_the_slices() -> None:
    detections = Detections()
    detections.heard(POOL, [_refused(10.0)])
    detections.judged(POOL, {"tx-1"}, [_verdict(Level.ACTIVE, 1.5)], 10.0)
    detections.heard(POOL, [_refused(10.2)])
    detections.judged(POOL, {"tx-1"}, [_verdict(Level.SOFT, 4.0)], 10.25)
    detections.unlisted(POOL, {"tx-1"}, 10.3)  # the slice could not be written
    assert _told(detections, UNLISTED) == (0, 0.0)
    assert detections.wants_to_know(POOL)
    detections.unlisted(POOL, {"tx-2"}, 10.5)
    assert not detections.wants_to_know(POOL)
    assert _told(detections, JUDGED) == (1, 0.25)
    assert _told(detections, UNLISTED) == (1, 0.5)


def test_a_silence_began_when_its_oldest_probe_was_sent() -> None:
    detections = Detections()
    detections.heard(POOL, [Silent("tx-1", "op-1", "pod", Probe.DIALOGUE, 10.0, (9.75, 9.9))])
    detections.judged(POOL, {"tx-1"}, [_verdict(Level.SOFT, 4.0)], 10.25)
    assert _told(detections, JUDGED) == (1, 0.5)


def test_a_sign_that_came_to_nothing_is_forgotten() -> None:
    detections = Detections()
    detections.heard(POOL, [_refused(10.0), Answered("tx-1", "op-1", "pod", Probe.DIALOGUE, 10.1, 0.01)])
    detections.judged(POOL, {"tx-1"}, [_verdict(Level.ACTIVE, 0.0)], 10.1)
    detections.heard(POOL, [_refused(99.0)])
    detections.judged(POOL, {"tx-1"}, [_verdict(Level.SOFT, 4.0)], 99.5)
    assert _told(detections, JUDGED) == (1, 0.5)


def test_a_sign_of_long_ago_is_not_the_first_one_of_a_fault() -> None:
    detections = Detections()
    detections.heard(POOL, [_refused(10.0)])
    detections.judged(POOL, {"tx-1"}, [_verdict(Level.ACTIVE, 0.5)], 10.0)  # noise that is not forgotten yet
    detections.heard(POOL, [_refused(10.0 + 2 * GAP)])
    detections.heard(POOL, [_refused(10.25 + 2 * GAP)])
    detections.judged(POOL, {"tx-1"}, [_verdict(Level.SOFT, 4.0)], 10.5 + 2 * GAP)
    assert _told(detections, JUDGED) == (1, 0.5)


def test_who_gets_worse_is_not_counted_twice() -> None:
    detections = Detections()
    detections.heard(POOL, [_refused(10.0)])
    detections.judged(POOL, {"tx-1"}, [_verdict(Level.SOFT, 4.0)], 10.5)
    detections.judged(POOL, set(), [_verdict(Level.HARD, 9.0)], 13.0)
    assert _told(detections, JUDGED) == (1, 0.5)


def test_nothing_is_kept_of_relays_and_pools_that_are_gone() -> None:
    detections = Detections()
    detections.heard(POOL, [_refused(10.0)])
    detections.judged(POOL, {"tx-1"}, [_verdict(Level.SOFT, 4.0)], 10.5)
    detections.keep(POOL, {"tx-2"})
    assert not detections.wants_to_know(POOL)
    detections.forget(POOL)
    assert _told(detections, JUDGED) == (0, 0.0)


def test_latency_of_probes() -> None:
    latencies = Latencies()
    for seconds in (0.001, 0.004, 7.0):
        latencies.answered("op-1", "Dialogue", seconds)
    samples = [each for family in latencies.collect() for each in family.samples]
    assert [each.value for each in samples if each.name.endswith("_sum")] == [pytest.approx(7.005)]
    assert [each.value for each in samples if each.name.endswith("_count")] == [3]
    within = {each.labels["le"]: each.value for each in samples if each.name.endswith("_bucket")}
    assert (within["0.001"], within["0.002"], within["0.005"], within["1.0"], within["+Inf"]) == (1, 1, 2, 2, 3)
    assert {each.labels["probe"] for each in samples} == {"Dialogue"}
