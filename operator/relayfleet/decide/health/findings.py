"""A finding: one weighed piece of a verdict, in words that a person can read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from relayfleet.decide.health.words import Reason


@dataclass(frozen=True, slots=True)
class Finding:
    """`weight` is a log-likelihood ratio in nats; `where` is the failure domain, or the shared thing that is blamed."""

    reason: Reason
    where: str
    weight: float
    text: str

    def scaled(self, share: float) -> Finding:
        """The same, counting for less."""
        return self if share == 1.0 else replace(self, weight=self.weight * share)
