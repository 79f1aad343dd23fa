"""When the queues of a pool that is gone may be removed.

RabbitMQ has no "delete if empty" for quorum queues (it answers `not_implemented`), so it has to be true before the question: nobody can write to
these queues any more, and after that they were seen empty. Write permission in RabbitMQ is for an exchange, and relays publish to the default one, which leads
to every queue; so "nobody can write" means that every user who may publish at all is accounted for: the operator's own, the probers', whose
exchange leads to canaries only, and those of relays whose pods live and are of other pools. The user that older relays share belongs to nobody
in particular: it is taken away (the *lock*) before the last look, and given back afterwards. All of it is written down in docs/decisions/0017.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

GONE = 600.0
"""Seconds that a pool must have been gone. Who deletes and creates it again (a rename undone, a sync of Argo CD) finds its queues as they were."""

APART = 60.0
"""Seconds between the first look and the last one before the lock, with nothing but emptiness in between."""

SETTLING = 20.0
"""Seconds after the lock before an empty queue is believed. Brokers count every five, a leader that is new says 0 until then, one that stands still
is down to the others after eight, and a relay's user that was being made at that moment is there after six."""

CLOCKS = datetime.timedelta(seconds=60)
"""How far the clocks of nodes, API server and operator may be apart."""

_OURS = re.compile(
    r"(?P<pool>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\.v1\."
    r"(?:(?P<ready>ready)\.[ab]|(?P<wait>wait)\.[0-9]+\.[ab]|(?P<lane>lane)\.[0-9]+|(?P<park>park)|(?P<look>look)"
    r"|(?P<quarantine>quarantine)|(?P<journal>journal)|(?P<probe>probe)\.[0-9a-f]+)"
)
"""What a relay calls its queues (`relay.spool.rabbitmq`); a test keeps the two together."""

_ORDER = ("wait", "lane", "park", "look", "probe", "quarantine", "journal", "ready")
"""In which queues go. Those that wait, provider lanes and parked mail before `look` and `ready`, in which their records end; `ready` last, since it shows that something is left."""


class Step(Enum):
    """What to do about a pool's queues."""

    KEEP = "keep them, and give the lock back"
    LOCK = "take the user away that older relays share"
    WAIT = "keep the lock a little longer"
    REMOVE = "remove them"


@dataclass(frozen=True, slots=True)
class Found:
    """A queue at the brokers. `kind`: quorum, stream, classic. `records`: ready, with a consumer, or between two queues; None when not known.
    `whole`: all its members are up."""

    name: str
    kind: str = "quorum"
    records: int | None = 0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Sight:
    """One look. `queues`: all there are; `counted`: the brokers say what is in queues and which members are up; `consumed`: names of those with a consumer. `pools`: names of the pools of this namespace that exist, or that a pod or a
    Deployment still names. `whole`: all brokers are up. `writers`: users that may publish to whichever exchange, `connected`: users that are logged in, `ours`: those of
    them that are accounted for; `shared`: the one that older relays share, `sharing`: relays that log in as it."""

    queues: tuple[Found, ...]
    pools: frozenset[str]
    counted: bool = True
    consumed: frozenset[str] = frozenset()
    whole: bool = True
    writers: frozenset[str] = frozenset()
    connected: frozenset[str] = frozenset()
    ours: frozenset[str] = frozenset()
    shared: str = ""
    sharing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Doubt:
    """A deletion that was not answered: of which queue, of which kind, asked of which broker (its pod) at what time of day. The broker may still
    carry it out. `over_since`: since when (seconds, monotonic) it is seen that it cannot, or has; None while that is not seen."""

    queue: str
    kind: str
    broker: str
    asked: datetime.datetime
    over_since: float | None = None

    def over(self, sight: Sight) -> bool:
        """Whether a look at the brokers alone shows that it was carried out, or that the broker that was asked is back and had its chance. What a
        broker has written down of a queue is the last that goes."""
        return sight.whole or all(each.name != self.queue for each in sight.queues)

    def ended(self, newest: datetime.datetime | None) -> bool:
        """Whether the program that was asked has ended, so that it asks the others for nothing any more. `newest`: when the broker's pod came, or its
        container began or ended the last time; None when there is no pod, which proves nothing. What it asked for before
        it ended is undone when a majority takes part in another step of the same queue. Of a stream nobody can be asked that."""
        return self.kind == "quorum" and newest is not None and newest - self.asked > CLOCKS

    def seen(self, over: bool, now: float) -> Doubt:
        """After a look that showed that it is over, or did not."""
        since = now if self.over_since is None else self.over_since
        return replace(self, over_since=since if over else None)

    def gone(self, now: float) -> bool:
        """Whether it has been over for long enough: a broker that has just gone on may be about to do it."""
        return self.over_since is not None and now - self.over_since >= SETTLING


@dataclass(slots=True)
class Watch:
    """What is remembered of pools between looks: since when (seconds, monotonic) each one has been seen to be gone, and since when each of those has
    been seen to be empty with nobody to write. Lost with the leader, and then begun anew."""

    gone: dict[str, float] = field(default_factory=dict)
    empty: dict[str, float] = field(default_factory=dict)

    def saw(self, gone: Iterable[str], now: float) -> None:
        """These pools have queues and do not exist."""
        self.gone = {pool: self.gone.get(pool, now) for pool in gone}
        self.empty = {pool: since for pool, since in self.empty.items() if pool in self.gone}

    def due(self, now: float) -> list[str]:
        """Pools that have been gone for long enough, so that it is worth asking the brokers."""
        return sorted(pool for pool, since in self.gone.items() if now - since >= GONE)

    def judged(self, pool: str, obstacle: str, now: float) -> None:
        """What a look at the queues of a pool that is due came to."""
        if obstacle:
            self.empty.pop(pool, None)
        else:
            self.empty.setdefault(pool, now)

    def step(self, pool: str, now: float, locked: float | None) -> Step:
        """After a look that was judged. `locked`: since when the lock is in place, None without."""
        empty = self.empty.get(pool)
        if pool not in self.due(now) or empty is None or now - empty < APART:
            return Step.KEEP
        if locked is None:
            return Step.LOCK
        return Step.REMOVE if now - locked >= SETTLING else Step.WAIT


def pool_of(queue: str, space: str) -> str | None:
    """The pool whose queue it is; None for another name. `space` is what the names of all queues of the namespace's pools begin with."""
    found = _OURS.fullmatch(queue, len(space)) if queue.startswith(space) else None
    return found["pool"] if found else None


def pools_of(queues: Iterable[str], space: str) -> set[str]:
    """All pools that have queues."""
    return {pool for queue in queues if (pool := pool_of(queue, space))}


def queues_of(pool: str, space: str, sight: Sight) -> list[Found]:
    """The pool's queues in the order in which they may go."""
    own = {each.name: each for each in sight.queues if pool_of(each.name, space) == pool}
    return sorted(own.values(), key=lambda each: (_ORDER.index(_part(each.name, space)), each.name))


def obstacle(pool: str, space: str, sight: Sight, *, locked: bool) -> str:
    """Why the pool's queues have to stay, in words that stay the same while it lasts; "" when nothing is known against removing them."""
    if pool in sight.pools:
        return "the pool exists, or a pod or Deployment of it does"
    if not sight.whole:
        return "not all brokers are up"
    if not sight.counted:
        return "the brokers do not say what is in their queues, see the conditions of the QueueCluster"
    return _mail(pool, space, sight) or _somebody(sight, locked)


def _mail(pool: str, space: str, sight: Sight) -> str:
    for each in sorted(sight.queues, key=lambda each: each.name):
        if not each.name.startswith(f"{space}{pool}."):
            continue
        if (owner := pool_of(each.name, space)) is None:
            return f"{each.name} is a queue that this operator does not know"
        if owner == pool and (why := _kept(each, _part(each.name, space) == "journal")):
            return f"{each.name} {why}"
        if owner == pool and each.name in sight.consumed:
            return f"{each.name} has a consumer"
    return ""


def _kept(queue: Found, journal: bool) -> str:
    """The journal tells copies of records from records, and is no mail itself: where no record is, there is no copy."""
    if queue.kind != ("stream" if journal else "quorum"):
        return f"is a {queue.kind} queue, which this operator did not make"
    if journal:
        return ""
    if not queue.whole:
        return "has members that are not up"
    if queue.records is None:
        return "could not be counted"
    return "holds records" if queue.records else ""


def _somebody(sight: Sight, locked: bool) -> str:
    strangers = (sight.writers | sight.connected) - sight.ours - {sight.shared}
    if strangers:
        return f"user {min(strangers)} may write to them"
    if sight.sharing:
        return f"relay {min(sight.sharing)} logs in as user {sight.shared}, which may write to them: it is of an older template"
    if sight.shared in sight.connected:
        return f"somebody is logged in as user {sight.shared}, which may write to them"
    if locked and sight.shared in sight.writers:
        return f"user {sight.shared} was made again"
    return ""


def _part(queue: str, space: str) -> str:
    """Which of its pool's queues it is, as in `_ORDER`; "" for another name."""
    found = _OURS.fullmatch(queue, len(space))
    return (found.lastgroup or "") if found else ""
