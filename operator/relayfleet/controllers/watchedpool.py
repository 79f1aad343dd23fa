"""One pool as its verdicts need it: what is known of it, and what was heard since the last decision.

Bad news is decided on at once, together with the good that waits, and so is all news of a pool that is not calm.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from relayfleet.api.meta import seconds
from relayfleet.api.relaypool import HealthSettings
from relayfleet.controllers.evidence import good
from relayfleet.decide.health.evidence import Evidence
from relayfleet.decide.health.policy import Policy
from relayfleet.decide.health.roster import Roster
from relayfleet.decide.health.state import State
from relayfleet.decide.health.verdict import Decision, Verdict
from relayfleet.decide.health.words import Level
from relayfleet.decide.weights import QUARTERS
from relayfleet.protocol.probing import Target

LEISURE = 0.5
"""Good news of a pool of which nothing bad is known waits so long for more of it, in seconds: it can change nothing there, and a decision for
each word of each prober is what a large fleet costs most."""


@dataclass(slots=True)
class WatchedPool:
    """`calm`: nothing is known against any relay of it. `waiting`: what was heard since the last decision. `since`: when this leader began to
    listen; `heard_at`: when each relay last answered a prober, or said something itself."""

    policy: Policy
    roster: Roster
    targets: tuple[Target, ...]
    state: State = field(default_factory=State)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    waiting: list[Evidence] = field(default_factory=list)
    calm: bool = False
    next_check: float = 0.0
    burst_at: float = 0.0
    since: float = 0.0
    heard_at: dict[str, float] = field(default_factory=dict)

    def hear_of(self, relay: str, at: float) -> None:
        """A sign of life."""
        self.heard_at[relay] = max(at, self.heard_at.get(relay, at))

    def forget_others(self, relays: Collection[str]) -> None:
        """Remember no signs of life but those of these relays."""
        for gone in self.heard_at.keys() - set(relays):
            del self.heard_at[gone]

    def may_wait(self, batch: Sequence[Evidence], now: float) -> bool:
        """Let the batch wait for more, if it is good news of a calm pool; else it has to be decided on."""
        if not (self.calm and all(map(good, batch))):
            return False
        self.waiting += batch
        self.next_check = min(self.next_check, now + LEISURE)
        return True

    def wait_for_tick(self, batch: Sequence[Evidence], now: float) -> None:
        """Let any batch wait until the next tick or the next news, whichever is first."""
        self.waiting += batch
        self.calm, self.next_check = False, min(self.next_check, now)

    def heard(self) -> list[Evidence]:
        """What waits; then nothing does, whatever becomes of the decision."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def follow(self, decision: Decision) -> None:
        """What was decided."""
        self.state, self.next_check = decision.state, decision.next_check
        self.verdicts = {each.relay: each for each in decision.verdicts}
        self.calm = not decision.bursts and all(map(_untroubled, decision.verdicts))


def policy(settings: HealthSettings) -> Policy:
    """The numbers of the verdict as a pool's spec has them."""
    return Policy(
        interval=seconds(settings.interval),
        timeout=seconds(settings.timeout),
        max_cordoned=int(settings.max_cordoned.removesuffix("%")) / 100,
    )


def _untroubled(verdict: Verdict) -> bool:
    """Nothing speaks against the relay, and it has its full share."""
    return verdict.level is Level.ACTIVE and verdict.total == 0 and verdict.weight == QUARTERS
