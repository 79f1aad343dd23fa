"""Which relays may log in at the brokers. One that does not answer any more is fenced: its user is taken away, and with it its connections.

| relay                                                           | its user   |
|-----------------------------------------------------------------|------------|
| starts; is active; is cordoned softly; is the last resort       | there      |
| under a hard cordon by a person's order alone                   | there      |
| hard by its evidence and dismissed, but answers                 | there: it is told to leave, and hands its records back itself |
| hard by its evidence and dismissed, and nothing is heard of it  | gone       |
| the same, but this leader has not listened for long             | as it is   |
| is being deleted; its pool is paused, or not looked at yet      | as it is   |

No memory is needed: what was done is what the brokers have. A new leader that knows little yet changes nothing, so it gives nobody back what
the one before took away, until the relay is heard again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from relayfleet.decide.pool.dismissal import dismissed
from relayfleet.decide.pool.relays import Relay

HEARD = 1.5
"""Seconds within which a relay that works answers a probe or says something itself; it does each several times a second."""

LISTENED = 5.0
"""Seconds after which a leader that has heard nothing may conclude something from it: by then probers and links have connected."""


class Access(Enum):
    """What should become of a relay's user."""

    GRANT = "Grant"
    FENCE = "Fence"
    AS_IS = "AsIs"


@dataclass(frozen=True, slots=True)
class Witness:
    """What the leader knows of a relay that it watches. `hard`: hard cordoned by the relay's own evidence, whatever a person ordered and however
    many may be out. `silence`: seconds since anything was heard of it; of a leader that never heard anything, since it listens, with
    `heard` False."""

    hard: bool
    silence: float
    heard: bool = True


def access(relays: Sequence[Relay], witnesses: Mapping[str, Witness]) -> dict[str, Access]:
    """By relay; `relays` are all of the pool. One without a witness is not watched: it starts."""
    out = dismissed(relays)
    return {each.name: _access(each, each.name in out, witnesses.get(each.name)) for each in relays}


def _access(relay: Relay, out: bool, witness: Witness | None) -> Access:
    if relay.leaving:
        return Access.AS_IS
    if not out or witness is None or not witness.hard:
        return Access.GRANT
    if witness.silence <= HEARD:
        return Access.GRANT if witness.heard else Access.AS_IS
    return Access.FENCE if witness.heard or witness.silence >= LISTENED else Access.AS_IS
