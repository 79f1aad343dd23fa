"""How many records were in which window when faults struck; out of what client, sink and journal left."""

from __future__ import annotations

import pytest

from relayfleet.relay.spool.rabbitmq.entries import Entry as Said
from tests.bench._faults_evidence import Evidence
from tests.bench._faults_run import Course
from tests.bench._faults_scene import Struck
from tests.bench._faults_traces import Left, Told
from tests.bench._faults_windows import windows

HELO, RELAY = "relay-1.faults.test", "relay-1/1"


def said(kind: str, at: float, recipients: str = "a@b") -> Said:
    return Said(kind, "key", (recipients,), RELAY, at, 1)  # type: ignore[arg-type]


def counted(moment: float) -> dict[str, float]:
    """Of one record: tried at 10, put off at 11, stored as a copy at 12, back after 15 s, tried again at 27.5, claimed, past its dot at 28, delivered at 30."""
    sink = [("refused", 10.0), ("rcpt", 27.5), ("dot", 28.0), ("stored", 29.0)]
    evidence = Evidence(
        course=Course(faults=[Struck("relay.killed", began=moment, relays=(HELO,), in_hand={HELO: 3.0, "other": 4.0})]),
        entries=[],
        deeds=[
            {
                "recipients": ["a@b"],
                "stage": "dot" if stage == "dot" else "rcpt",
                "time": at,
                "helo": HELO,
                "deed": deed,
            }
            for stage, at in sink[:3]
            for deed in ["reply 451" if stage == "refused" else "accept"]
        ],
        messages=[{"from": "x", "recipients": [{"address": "a@b"}], "time": 29.0, "helo": HELO}],
        said=[said("settled", 12.0), said("claim", 27.8), said("outcome", 30.0)],
        left=Left(),
        told=Told(deferred={"a": [(11.0, HELO)]}),
        logs=[],
        client={},
        crashes=0,
    )
    return {name: its["sum"] for name, its in windows(evidence).items()}


WINDOWS = {"being_copied": 11.5, "coming_back": 27.2, "claimed": 27.9, "past_dot": 29.0}


@pytest.mark.parametrize(("window", "moment"), WINDOWS.items())
def test_a_record_is_in_its_window(window: str, moment: float) -> None:
    assert counted(moment)[window] == 1


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("moment", [9.0, 20.0, 31.0])
def test_and_outside_it_is_not(window: str, moment: float) -> None:
    assert counted(moment)[window] == 0


def test_records_in_hand_are_counted_for_all_and_for_the_struck() -> None:
    found = counted(1.0)
    assert (found["in_hand_of_all_relays"], found["in_hand_of_struck_relay"]) == (7.0, 3.0)
