"""Names and numbers that the pool's children and the relays agree on."""

from __future__ import annotations

UID = 65532
"""User and group of the relays' processes."""

STATUS_PORT = 9640
"""HTTP port of a relay: /livez, /readyz, /metrics."""

LANES = 4
"""Ports of each listener, one a weight lane (`decide.weights.QUARTERS`). Relays listen on all of them from the start: a lane that is
listed before somebody listens would refuse connections."""

UNLIST = 3.0
"""Seconds that a relay still serves new sessions after it was told to go. By then no kube-proxy sends it any: the operator unlists it
within a tenth of a second, and kube-proxy syncs at most a second later."""


def of(pool: str) -> str:
    """The name of every child of a pool but its Service, which has the pool's own name."""
    return f"{pool}-relay"


def control(pool: str) -> str:
    """The name of the Secret by which relays and operator know each other."""
    return f"{pool}-control"


def listener_port(number: int, lane: int) -> int:
    """The port of a relay's container for a lane of its listener number `number` (from 0)."""
    return 2520 + 10 * number + lane
