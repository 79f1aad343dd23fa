"""An observation as it is kept inside the prober: with points in time, which become ages when it is told."""

from __future__ import annotations

from dataclasses import dataclass

from relayfleet.protocol.probing import Kind, Probe, Sight

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Sighting:
    """As `protocol.probing.Sight`, but `at` and `sent` are `time.monotonic()` of this machine."""

    key: str
    kind: Kind
    probe: Probe
    at: float
    latency: float = 0.0
    code: int = 0
    sent: tuple[float, ...] = ()

    def told(self, now: float) -> Sight:
        """What is said of it at `now`; microseconds are enough."""
        open_ = tuple(_age(now, each) for each in self.sent)
        return Sight(
            self.key, self.kind, self.probe, _age(now, self.at), round(self.latency, _DIGITS), self.code, open_
        )


def _age(now: float, at: float) -> float:
    return round(max(0.0, now - at), _DIGITS)
