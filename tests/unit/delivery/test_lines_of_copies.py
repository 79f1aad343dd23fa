"""Days in the life of one mail of which copies are left behind at each step, in a second: it arrives once, however its copies go, when a Requeue moves
them by relays that die, and when they are parked."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from relayfleet.protocol.relay_config import Retry
from relayfleet.relay.delivery import settlement, twins
from relayfleet.relay.delivery.judging import UNREACHABLE
from relayfleet.relay.delivery.outcome import Fate, Outcome, Place
from relayfleet.relay.spool.interface import Seen, Successor
from relayfleet.relay.spool.rabbitmq.entries import Entry
from relayfleet.relay.spool.rabbitmq.ledger import GENERATION, Ledger
from relayfleet.relay.spool.rabbitmq.requeue.plan import LATE as OVER
from relayfleet.relay.spool.rabbitmq.requeue.plan import visit_seconds
from relayfleet.relay.spool.rabbitmq.spool import _lane
from relayfleet.relay.spool.rabbitmq.topology import LANE_SECONDS, LANES, LOOK_SECONDS, Topology
from relayfleet.relay.spool.record import Recipient, Record, share

POOL = Topology("p", 3)
WAITS = {queue.name: queue.arguments.get("x-message-ttl", 0) / 1000 for lane in LANES for queue in POOL.queues(lane)}
RELAYS = ("one", "two", "three")
LATE = 1500.0
"""Seconds by which a copy may come late: a dead letter that is handed over again, a ready queue that is longer than the other."""
TOP = POOL.ladder[-1]
TAKEN_OVER = 900.0
"""Seconds after which the next relay has visited the rung at which one has died."""
BEGIN = 1.7e9
LOOKED_AT = LANE_SECONDS + LOOK_SECONDS + 2 * 360.0
"""Seconds after which a parked copy is looked at, at the latest: both dead letters may be handed over again."""
KNOWN_UP = 600.0
"""Seconds after which no relay takes the destination for down any more."""
MOST_TRIES = 12
"""Of one attempt, by two recipients and three relays that have copies at the same time, each of which may come back once more."""


@dataclass
class World:
    """Relays that share a journal, a destination that begins to answer at `opens_at` (Unix seconds; at first not always), and a queue that leaves copies.
    `visits`: of a Requeue with the moment at which the first begins (Unix seconds); who makes one of the first `deaths` dies of it. `parks`: the
    part of relays that know that it is down, and park its mail; `lost`: of them so many die when it is stored there and not let go of. Nobody else dies."""

    chance: Random
    opens_at: float
    visits: list[float] = field(default_factory=list)
    deaths: int = 0
    parks: float = 0.0
    lost: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    told_at: float = BEGIN
    arrived: Counter[str] = field(default_factory=Counter)
    tries: Counter[str] = field(default_factory=Counter)
    _due: list[tuple[float, int, str, str, Record, list[Outcome]]] = field(default_factory=list)
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, record: Record) -> None:
        for _ in LANES:
            self._at(BEGIN + self.chance.uniform(0, 5), "taken", record)
        for each in self.visits:
            self._at(each, "visit", record)
        while self._due:
            now, _, step, relay, record, outcomes = heapq.heappop(self._due)
            self._pass_time(now)
            if step == "taken":
                self._take(now, relay, record)
            elif step == "visit":
                self._visit(now)
            else:
                self._settle(now, relay, record, outcomes)

    def _at(
        self, when: float, step: str, record: Record, relay: str = "", outcomes: list[Outcome] | None = None
    ) -> None:
        who = relay or self.chance.choice(RELAYS)
        heapq.heappush(self._due, (when, next(self._count), step, who, record, outcomes or []))

    def _visit(self, now: float) -> None:
        """What is put off since before the moment comes now; a copy may have been stored and not let go of, or not be reached."""
        waiting, self._due = self._due, []
        for when, number, step, relay, record, outcomes in waiting:
            comes, again = when, False
            if step == "taken" and when > now + 5:
                comes = max(when, now + self.chance.uniform(0, visit_seconds(TOP)))
                if 0 < record.deferred_at < self.visits[0] and record.earliest_at <= now:
                    dies = now in self.visits[: self.deaths] and self.chance.random() < 0.5
                    again = dies and self.chance.random() < 0.5
                    comes = comes if dies else min(comes, now + self.chance.choice((1.0, 100.0, LATE)))
            heapq.heappush(self._due, (comes, number, step, relay, record, outcomes))
            if again:
                self._at(now + 1, "taken", record)

    def _pass_time(self, now: float) -> None:
        """There is other mail, which makes relays forget."""
        while self.told_at + GENERATION < now:
            self.told_at += GENERATION + 1
            self._say("claim", f"other.{self.told_at}", "x", "somebody", self.told_at)

    def _say(self, kind: str, key: str, recipient: str, relay: str, now: float, delivered: bool = False) -> bool:
        return self.ledger.apply(Entry(kind, key, (recipient,), relay, now, 1, delivered=delivered), now)  # type: ignore[arg-type]

    def _take(self, now: float, relay: str, record: Record) -> None:
        known, fresh = twins.before(record, self._seen(record, relay))
        if (
            len(fresh) == len(record.recipients)
            and now < self.opens_at + KNOWN_UP
            and self.chance.random() < self.parks
        ):
            self._park(now, record)
            return
        for each in fresh:
            self.tries[record.key] += 1
            assert self.tries[record.key] <= MOST_TRIES, "copies become more and more"
            arrives = now >= self.opens_at and (self.chance.random() < 0.7 or now > self.opens_at + 40_000)
            if not arrives:
                known.append(Outcome(each, Fate.TRANSIENT, "connect", 0, "4.4.1", "refused", Place(), UNREACHABLE))
            elif self._say("claim", record.key, each.address, relay, now):
                self.arrived[each.address] += 1
                self._say("outcome", record.key, each.address, relay, now, delivered=True)
        takes = self.chance.choice((0.1, 5.0, 300.0)) if fresh else 0.1
        self._at(now + takes, "settled", record, relay, known)

    def _park(self, now: float, record: Record) -> None:
        """It comes to be looked at, or is released, each copy at its own time."""
        comes = now + self.chance.uniform(LANE_SECONDS, LOOKED_AT)
        if comes > self.opens_at and self.chance.random() < 0.7:
            comes = max(now, self.opens_at) + self.chance.uniform(0, comes - max(now, self.opens_at))
        self._at(comes, "taken", record)
        if self.lost and self.chance.random() < 0.1:
            self.lost -= 1
            self._at(now + self.chance.choice((1.0, 60.0)), "taken", record)

    def _settle(self, now: float, relay: str, record: Record, outcomes: list[Outcome]) -> None:
        left = twins.after(outcomes, self._seen(record, relay))
        for each in settlement.decide(record, left, now, Retry(), share(record.key), "relay.test").successors:
            if each.record.sender:
                self._store(now, each)
        for address in twins.unfinished(left):
            self._say("settled", record.key, address, relay, now)
        if self.chance.random() < 0.2:
            self._at(now + 1, "taken", record)  # its connection was lost at this moment

    def _store(self, now: float, successor: Successor) -> None:
        meant = _lane(successor.record)
        for lane in LANES if self.chance.random() < 0.7 else (meant,):
            wait = WAITS[POOL.wait(successor.delay, lane, meant)]
            self._at(now + wait + self.chance.choice((0.0, 0.0, 1.0, LATE)), "taken", successor.record)

    def _seen(self, record: Record, relay: str) -> Seen:
        return self.ledger.seen(record.key, [each.address for each in record.recipients], relay)


def lived(world: World, seed: int) -> Counter[str]:
    """How often it arrived at each of its recipients."""
    recipients = Recipient("b@x.test"), Recipient("c@x.test")
    world.run(Record(f"01ABC{seed:010}", "a@b.test", recipients, b"X: y\r\n\r\n", BEGIN))
    return world.arrived


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), opens=st.floats(0, 350_000))
def test_a_mail_of_which_each_step_leaves_copies_arrives_once(seed: int, opens: float) -> None:
    assert lived(World(Random(seed), BEGIN + opens), seed) == {"b@x.test": 1, "c@x.test": 1}


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    opens=st.floats(0, 350_000),
    after=st.floats(-20_000, 20_000),
    deaths=st.lists(st.floats(30, TAKEN_OVER / 3), max_size=3),
)
def test_a_mail_whose_copies_a_requeue_moves_arrives_once_however_many_relays_die_of_it(
    seed: int, opens: float, after: float, deaths: list[float]
) -> None:
    """What a visit does not mean yet, or what is put off only now, is met by the next ones, each eighth of the rung."""
    moment = BEGIN + max(opens + after, 0.0)
    visits = [moment, *(moment + each for each in itertools.accumulate(deaths))]
    last = moment + 1.2 * TOP + OVER
    while visits[-1] < last:
        visits.append(visits[-1] + TOP / 8)
    assert lived(World(Random(seed), BEGIN + opens, visits, len(deaths)), seed) == {"b@x.test": 1, "c@x.test": 1}


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    opens=st.floats(0, 350_000),
    parks=st.sampled_from((0.3, 0.7, 0.95, 1.0)),
    lost=st.integers(0, 3),
)
def test_a_mail_whose_copies_are_parked_by_some_relays_and_tried_by_others_arrives_once(
    seed: int, opens: float, parks: float, lost: int
) -> None:
    world = World(Random(seed), BEGIN + opens, parks=parks, lost=lost)
    assert lived(world, seed) == {"b@x.test": 1, "c@x.test": 1}
