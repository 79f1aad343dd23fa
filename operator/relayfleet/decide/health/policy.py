"""The numbers of the verdict, all of them a user's to set: how often it may be wrong, and how patient it is.

Thresholds are not chosen but follow from the false alarms that are allowed: a sum of log-likelihood ratios that starts at zero
reaches h at one observation with a probability of at most e^-h, so h = ln(observations a year / false alarms a year) (Page 1954,
Lorden 1971).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

YEAR = 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in seconds, shares between 0 and 1. Raises ValueError for numbers that make no sense."""

    interval: float = 0.25
    """Between two probes of one vantage."""
    timeout: float = 0.5
    """An answer later than this is late."""
    suspect_after: float = 0.03
    """A probe that is unanswered for this long, beyond what the vantage's other relays take, starts a burst."""
    brief: float = 0.2
    """A silence shorter than this cordons nobody: schedulers, garbage collectors and virtual machines pause for so long every day."""
    burst_gap: float = 0.05
    """Between two probes of a burst."""
    soft_alarms_per_year: float = 12.0
    """Good relays softly cordoned, per relay and year."""
    hard_alarms_per_year: float = 0.01
    """Good relays hard cordoned, per relay and year."""
    loss: float = 0.01
    """Share of probes that a healthy relay leaves unanswered. Measured silences can raise it, never lower it."""
    refused: float = 1e-6
    """Share of connections that a healthy relay refuses."""
    reset: float = 1e-5
    """Share of sessions that a healthy relay resets."""
    node_lost: float = 1e-3
    """Share of time in which a node is said to be lost while its relays serve."""
    failed: float = 0.9
    """Share of observations that a failed relay makes bad."""
    excusable: float = 0.3
    """History excuses no silence longer than this: a relay that often hangs is still cordoned after so many seconds."""
    hard_silence: float = 3.0
    """Silence alone is final only after this long, from two nodes."""
    max_cordoned: float = 0.5
    """Largest share of relays hard cordoned, or cordoned for slowness or errors."""
    dwell: float = 10.0
    """A first cordon lasts at least this long; each further one `dwell_factor` times longer, up to `dwell_max`."""
    dwell_factor: float = 8.0
    dwell_max: float = 3600.0
    remembered: float = 60.0
    """Failures of live traffic that no success outweighs count for so long; against a relay that is out of traffic for `dwell` only."""
    forgiven_after: float = 600.0
    """Each such time in traffic takes one cordon off the count."""
    ramp: float = 30.0
    """On return the weight grows from one quarter to four in this time."""

    def __post_init__(self) -> None:
        shares = ("loss", "refused", "reset", "node_lost", "failed")
        times = (
            "interval",
            "timeout",
            "suspect_after",
            "brief",
            "burst_gap",
            "hard_silence",
            "dwell",
            "remembered",
            "forgiven_after",
            "ramp",
        )
        rates = ("soft_alarms_per_year", "hard_alarms_per_year")
        for name in shares:
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be between 0 and 1")
        for name in (*times, *rates):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        if self.hard_alarms_per_year > self.soft_alarms_per_year:
            raise ValueError("hard_alarms_per_year must not exceed soft_alarms_per_year: a hard cordon costs more")
        if not 0 <= self.max_cordoned <= 1:
            raise ValueError(f"max_cordoned is {self.max_cordoned}: it must be between 0 and 1")
        if self.dwell_factor < 1 or self.dwell_max < self.dwell:
            raise ValueError("dwell_factor must be at least 1 and dwell_max at least dwell")

    def soft(self, vantages: int) -> float:
        """Threshold of the sum for a soft cordon, with so many vantages that probe."""
        return self._threshold(self.soft_alarms_per_year, vantages)

    def hard(self, vantages: int) -> float:
        """Threshold of the sum for a hard cordon, with so many vantages that probe."""
        return self._threshold(self.hard_alarms_per_year, vantages)

    def _threshold(self, alarms: float, vantages: int) -> float:
        return max(1.0, math.log(max(1, vantages) * YEAR / self.interval / alarms))

    def weight(self, when_healthy: float) -> float:
        """Log-likelihood ratio, failed against healthy, of what a healthy relay shows with this probability; never negative."""
        return max(0.0, math.log(self.failed / when_healthy))

    @property
    def relief(self) -> float:
        """What one good observation takes off a sum."""
        return math.log((1 - self.loss) / (1 - self.failed))

    def dwell_after(self, cordons: int) -> float:
        """How long a relay stays out that was cordoned so many times lately."""
        exponent = min(max(0, cordons - 1), 64)
        return min(self.dwell_max, self.dwell * self.dwell_factor**exponent)
