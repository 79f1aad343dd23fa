"""What the leader knows of fencing besides what the brokers have: which relays it has cut off, and why it cannot cut off some.

It is told in conditions and metrics, and may be lost at any time: who has to be fenced follows from standings, who is fenced from the users
that the brokers have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from relayfleet.controllers.evidence import PoolName

QueueName = tuple[str, str]
"""Namespace and name."""


@dataclass(slots=True)
class Counts:
    """Totals since this leader came. `fences` by pool and reason of the cordon, `returns` by pool, `failures` by queue: looks at which the
    brokers' management interface did not do what was asked."""

    fences: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    returns: Counter[PoolName] = field(default_factory=Counter)
    failures: Counter[QueueName] = field(default_factory=Counter)


class Fences:
    """Of all queues. `changed(namespace, name)` is called for a pool of which something else is to be said."""

    def __init__(self, changed: Callable[[str, str], None] = lambda namespace, name: None) -> None:
        self._changed = changed
        self._fenced: dict[QueueName, dict[str, PoolName]] = {}
        self._unavailable: dict[QueueName, str] = {}
        self.counts = Counts()

    def say(self, queue: QueueName, pools: Collection[PoolName], fenced: Mapping[str, PoolName], why_not: str) -> None:
        """After each look at a queue: its pools, who of them is fenced, and why nobody could be ("" when one can be)."""
        before = self._fenced.get(queue, {})
        stirred = {pool for relay, pool in (before.items() ^ fenced.items())}
        if bool(why_not) != bool(self.why_not(queue)):
            stirred |= set(pools)
        self._fenced[queue], self._unavailable[queue] = dict(fenced), why_not
        for pool in stirred:
            self._changed(*pool)

    def forget(self, queue: QueueName) -> None:
        """The queue is gone, or not ours to look after."""
        self._fenced.pop(queue, None)
        self._unavailable.pop(queue, None)

    def why_not(self, queue: QueueName) -> str:
        """Why no relay of the queue can be fenced now, as far as was tried; or ""."""
        return self._unavailable.get(queue, "")

    def fenced(self, queue: QueueName) -> Mapping[str, PoolName]:
        """The relays that are fenced now, with their pools."""
        return self._fenced.get(queue, {})

    def numbers(self) -> Counter[PoolName]:
        """How many relays of each pool are fenced now."""
        return Counter(pool for fenced in self._fenced.values() for pool in fenced.values())
