"""Which second copies the loss of all brokers' power explains."""

from __future__ import annotations

import pytest

from tests.bench._faults_evidence import Evidence
from tests.bench._faults_report import before_power_was_lost
from tests.bench._faults_run import Course
from tests.bench._faults_scene import Struck
from tests.bench._faults_traces import Left, Told

LOSS = 100.0
COPIES = {
    "one shortly before, one after": ((95.0, 103.0), 1),
    "both before": ((95.0, 98.0), 0),
    "both after": ((101.0, 103.0), 0),
    "one long before, when it was synced": ((50.0, 103.0), 0),
}


@pytest.mark.parametrize(("copies", "explained"), COPIES.values(), ids=COPIES.keys())
def test_second_copies(copies: tuple[float, float], explained: int) -> None:
    evidence = Evidence(
        course=Course(faults=[Struck("power.lost", began=LOSS), Struck("relay.killed", began=96.0)]),
        entries=[],
        deeds=[],
        messages=[
            {"from": "x", "recipients": [{"address": "a@b"}], "time": at, "helo": "relay-1.faults.test"}
            for at in copies
        ],
        said=[],
        left=Left(),
        told=Told(),
        logs=[],
        client={},
        crashes=0,
    )
    assert before_power_was_lost(["a"], evidence) == explained
