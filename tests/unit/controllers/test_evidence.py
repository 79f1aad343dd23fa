"""What a relay tells of its traffic is evidence as far as anything happened."""

from __future__ import annotations

import pytest

from relayfleet.controllers.evidence import own_evidence
from relayfleet.decide.health.evidence import (
    Confirms,
    Deliveries,
    Intake,
    Lookups,
    OwnEvidence,
    OwnReport,
    ServiceKind,
)
from relayfleet.protocol import telemetry
from relayfleet.protocol.telemetry import Attempts, Window

AT = 99.75
WELL = OwnReport("a", AT, "", 0.0)

CASES: dict[str, tuple[Window, list[OwnEvidence]]] = {
    "an empty window: the relay is well": (Window(age=0.25), [WELL]),
    "it is not": (Window(unfit="no memory", strain=0.5, age=0.25), [OwnReport("a", AT, "no memory", 0.5)]),
    "mail was taken": (Window(accepted=3, age=0.25), [WELL, Intake("a", AT, 3, 0)]),
    "mail was put off": (Window(deferred=2, age=0.25), [WELL, Intake("a", AT, 0, 2)]),
    "attempts, of which some did nothing": (
        Window(attempts=(Attempts("ip", "isp", 1, 2, 3, 4), Attempts("ip", "other")), age=0.25),
        [WELL, Deliveries("a", AT, "ip", "isp", 1, 2, 3, 4)],
    ),
    "confirms": (
        Window(confirms=(telemetry.Confirms("b:5671", 5, 1), telemetry.Confirms("c:5671")), age=0.25),
        [WELL, Confirms("a", AT, "b:5671", 5, 1)],
    ),
    "lookups": (
        Window(
            lookups=(telemetry.Lookups("Resolver", "192.0.2.53:53", 0, 2), telemetry.Lookups("Dependency", "ldap", 1)),
            age=0.25,
        ),
        [
            WELL,
            Lookups("a", AT, ServiceKind.RESOLVER, "192.0.2.53:53", 0, 2),
            Lookups("a", AT, ServiceKind.DEPENDENCY, "ldap", 1, 0),
        ],
    ),
}


@pytest.mark.parametrize(("window", "expected"), CASES.values(), ids=CASES)
def test_a_window_becomes(window: Window, expected: list[OwnEvidence]) -> None:
    assert list(own_evidence("a", window, 100.0)) == expected
