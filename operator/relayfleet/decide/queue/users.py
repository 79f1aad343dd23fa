"""What to do about the relays' users at the brokers of a queue, given which there are and which should be.

The brokers' list is read before the pods', and one hand does all of this: so a user whose pod is in no list has none any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from relayfleet.decide.pool.fencing import Access


@dataclass(frozen=True, slots=True)
class Plan:
    """Names of relays. `grant`: make the user, or set right what it lacks; `remove`: its pod is gone, or it is fenced."""

    grant: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def plan(users: Mapping[str, bool], pods: Collection[str], wanted: Mapping[str, Access]) -> Plan:
    """`users`: of which relays there are users, and whether password and permissions are right. `pods`: relays that have not ended, those with a
    user of their own or not. Of those that `wanted` does not name, nothing is known."""
    grant = [relay for relay in pods if _lacking(users.get(relay), wanted.get(relay, Access.AS_IS))]
    remove = [relay for relay in users if relay not in pods or wanted.get(relay) is Access.FENCE]
    return Plan(tuple(sorted(grant)), tuple(sorted(remove)))


def _lacking(user: bool | None, wanted: Access) -> bool:
    """One that is to stay as it is and is there gets a new password all the same: it is no other user."""
    return (wanted is Access.GRANT and user is not True) or (wanted is Access.AS_IS and user is False)
