"""Which relays should turn work away themselves: a cordon unlists a relay for new connections, but sessions that are open outlast it.

| relay                                     | should                                                |
|-------------------------------------------|-------------------------------------------------------|
| active, or under a soft cordon            | serve: the soft one is the last resort                |
| under a hard cordon                       | leave                                                 |
| under a hard cordon, and the last resort  | serve: somebody has to                                |
| being deleted                             | serve: it drains by itself, in the time that it has   |
"""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.decide.health.words import Level
from relayfleet.decide.pool.listing import shares
from relayfleet.decide.pool.relays import Relay
from relayfleet.decide.weights import Condition


def dismissed(relays: Sequence[Relay]) -> frozenset[str]:
    """The names of those that should leave; `relays` are all of the pool."""
    out = {share.relay for share in shares(relays) if share.condition is Condition.OUT}
    return frozenset(each.name for each in relays if each.level is Level.HARD and not each.leaving and each.name in out)
