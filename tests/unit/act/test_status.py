"""Conditions change only when they say something new."""

from __future__ import annotations

import datetime
from typing import Any, cast

from relayfleet.act.kubernetes.status import Saying, merged, write_status
from relayfleet.kube.client import Kube, Object

NOON = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
LATER = NOON + datetime.timedelta(hours=1)
READY = Saying("Ready", "True", "Serving", "3 of 3 relays serve")


def test_the_transition_time_moves_only_with_the_status() -> None:
    (first,) = merged([], [READY], 1, NOON)
    (same,) = merged([first], [Saying("Ready", "True", "Serving", "2 of 3 relays serve")], 2, LATER)
    (other,) = merged([same], [Saying("Ready", "False", "NoRelayReady", "none")], 2, LATER)
    assert (first["lastTransitionTime"], same["lastTransitionTime"]) == ("2026-11-24T12:00:00Z",) * 2
    assert (same["message"], same["observedGeneration"]) == ("2 of 3 relays serve", 2)
    assert other["lastTransitionTime"] == "2026-11-24T13:00:00Z"


async def test_a_status_that_says_it_already_is_not_written() -> None:
    written: list[Object] = []

    class Server:
        async def apply_status(self, obj: Object) -> Object:
            written.append(obj)
            return obj

    pool: dict[str, Any] = {
        "apiVersion": "relayfleet.io/v1alpha1",
        "kind": "RelayPool",
        "metadata": {"name": "a", "namespace": "mail", "generation": 4},
    }
    kube = cast("Kube", Server())
    assert await write_status(kube, pool, [READY], {"relays": "3/3", "selector": None})
    assert written[0]["status"]["observedGeneration"] == 4
    assert "selector" not in written[0]["status"]
    assert not await write_status(kube, pool | {"status": written[0]["status"]}, [READY], {"relays": "3/3"})
    assert await write_status(kube, pool | {"status": written[0]["status"]}, [READY], {"relays": "2/3"})
