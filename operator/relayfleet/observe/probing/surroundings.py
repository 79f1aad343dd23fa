"""What all watchers of one prober share."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from relayfleet.observe.probing.pulse import Pulse
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.observe.probing.tls import anybody

SUSPECT_AFTER = 0.03
"""A probe that is unanswered for so many seconds is stated as a silence."""
BURST_GAP = 0.05
"""Between two words about a silence, and between two fresh sockets while it lasts."""
_SLOWEST_PACE = 0.3


@dataclass
class Surroundings:
    """`report` takes every observation. `pace`: how long answers take here just now, over all targets, in seconds. `phase`: probers that are told the
    same at the same time shall not send their mails at the same time (0 to 1)."""

    report: Callable[[Sighting], None]
    pulse: Pulse
    context: ssl.SSLContext = field(default_factory=anybody)
    pace: float = 0.0
    phase: float = field(default_factory=random.random)

    def took(self, latency: float) -> None:
        """Another answer."""
        self.pace += 0.1 * (min(latency, _SLOWEST_PACE) - self.pace)
