"""Damping: how a relay's standing follows its evidence, so that nothing flaps.

Out is quick, back is slow. A cordon lasts for a dwell time that grows with each cordon of late; the way back needs Page's test
the other way round (answers, up to the same threshold) and, for the sum, half the threshold (hysteresis); then the weight
ramps up in quarters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.state import FULL, NEVER, Standing
from relayfleet.decide.health.suspicion import Suspicion
from relayfleet.decide.health.words import Level, Reason


@dataclass(frozen=True, slots=True)
class Damping:
    """The numbers that `follow` needs, for one pool."""

    policy: Policy
    vantages: int

    def follow(self, standing: Standing, suspicion: Suspicion, clock: float) -> Standing:
        """The standing after this suspicion."""
        standing = self._ease(self._forgive(standing, clock), clock)
        if suspicion.level.severity > standing.level.severity:
            return self._cordon(standing, suspicion, clock)
        if standing.level is not Level.ACTIVE and self._recovered(standing, suspicion, clock):
            return replace(
                standing,
                level=Level.ACTIVE,
                reason=Reason.HEALTHY,
                message="answers as usual",
                since=clock,
                calm_since=clock,
                recovery=0.0,
            )
        return standing

    def _cordon(self, standing: Standing, suspicion: Suspicion, clock: float) -> Standing:
        first = standing.level is Level.ACTIVE
        return replace(
            standing,
            level=suspicion.level,
            reason=suspicion.reason,
            message=suspicion.message,
            since=clock,
            cordons=standing.cordons + first,
            recovery=0.0,
        )

    def _recovered(self, standing: Standing, suspicion: Suspicion, clock: float) -> bool:
        soft = self.policy.soft(self.vantages)
        return (
            clock >= self.back_at(standing)
            and standing.recovery >= soft
            and suspicion.level is Level.ACTIVE
            and suspicion.total < soft / 2
        )

    def back_at(self, standing: Standing) -> float:
        """When the dwell time of a cordoned relay ends."""
        return standing.since + self.policy.dwell_after(standing.cordons)

    def _forgive(self, standing: Standing, clock: float) -> Standing:
        calm = standing.level is Level.ACTIVE and standing.cordons > 0
        if not calm or clock - standing.calm_since < self.policy.forgiven_after:
            return standing
        return replace(standing, cordons=standing.cordons - 1, calm_since=clock)

    def weight(self, standing: Standing, clock: float) -> int:
        """Quarters of full traffic: the ramp after a return, and less for a relay whose limits are nearly used up."""
        return min(self.ramped(standing, clock), standing.eased)

    def ramped(self, standing: Standing, clock: float) -> int:
        """Quarters that the slow start allows; a cordoned relay waits at one."""
        if standing.level is not Level.ACTIVE:
            return 1
        if standing.since == NEVER:
            return FULL
        return min(FULL, 1 + int((clock - standing.since) / self.policy.ramp * (FULL - 1)))

    def next_step(self, standing: Standing, clock: float) -> float:
        """Seconds until the standing could change by time alone; infinite when it could not."""
        if standing.level is not Level.ACTIVE:
            left = self.back_at(standing) - clock
        elif (quarters := self.ramped(standing, clock)) < FULL:
            left = standing.since + self.policy.ramp * quarters / (FULL - 1) - clock
        else:
            return float("inf")
        return left if left > 0 else float("inf")

    def _ease(self, standing: Standing, clock: float) -> Standing:
        """A strained relay gets less at once, and more again only when it is well below the limit and a dwell time has passed."""
        now, later = _quarters(standing.strain), _quarters(standing.strain + _MARGIN)
        quarters = now if now < standing.eased else max(later, standing.eased)
        if quarters == standing.eased or (quarters > standing.eased and clock - standing.eased_at < self.policy.dwell):
            return standing
        return replace(standing, eased=quarters, eased_at=clock)


_LIMITS = (0.7, 0.8, 0.9)
_MARGIN = 0.1
EASY = _LIMITS[0]
"""Up to this strain a relay gets its full weight."""


def _quarters(strain: float) -> int:
    """Above 70, 80 and 90 percent of its tightest limit a relay gets three, two and one quarter."""
    return FULL - sum(strain > limit for limit in _LIMITS)
