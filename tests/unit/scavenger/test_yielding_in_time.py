"""What the windows of Bulk relays do to brokers that another pool shares, in virtual time.

The window is the product's. The brokers are played: one line for all, in which each confirm takes its turn, and a way there and back that costs `WAY` seconds and now and
then a hiccup. The Transactional pool sends at a pace of its own; each Bulk relay has more mail than it can ever send.
"""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

import pytest

from relayfleet.relay.scavenger import window as windows
from relayfleet.relay.scavenger.window import LEAST, PERIOD, TARGET, Way, Window

WAY, HICCUP, HICCUPS = 0.004, 0.06, 0.002
CLIENTS = 200
"""Sessions that flood a relay."""
WARM_UP = 5.0
TICK = 0.02
"""Seconds."""


@dataclass
class Relay:
    """Of the flood, which begins at `idle_until`. Without a window all its clients' mail is in flight. While no mail comes the relay delivers, with a claim and a mail that is put off at each tick."""

    window: Window | None
    in_flight: int = 0
    idle_until: float = 0.0
    stored: list[float] = field(default_factory=list)

    def places(self, now: float) -> int:
        if now < self.idle_until:
            return 0
        return CLIENTS if self.window is None else min(self.window.places(now), CLIENTS)


class Brokers:
    """`capacity`: confirms a second at a time."""

    def __init__(self, capacity: Callable[[float], float], chance: Random) -> None:
        self._capacity, self._chance = capacity, chance
        self._free_at = 0.0

    def store(self, now: float) -> float:
        """When it is confirmed."""
        self._free_at = max(self._free_at, now) + 1 / self._capacity(now)
        hiccup = HICCUP if self._chance.random() < HICCUPS else 0.0
        return self._free_at + WAY * self._chance.uniform(0.8, 1.2) + hiccup


@dataclass
class Seen:
    """`waits`: seconds for a confirm, of Transactional mail. `bulk`: when mail of the flood was stored, by relay."""

    waits: list[tuple[float, float]]
    relays: list[Relay]

    def p99(self, since: float = WARM_UP) -> float:
        """Seconds, of mail sent since then."""
        return statistics.quantiles([wait for at, wait in self.waits if at >= since], n=100)[98]

    def rates(self, since: float, until: float) -> list[float]:
        """Mails of the flood a second, by relay."""
        return [sum(since <= at < until for at in each.stored) / (until - since) for each in self.relays]


def play(
    seconds: float,
    *relays: Relay,
    pace: float = 0.0,
    capacity: Callable[[float], float] = lambda now: 500.0,
    seed: int = 1,
) -> Seen:
    """From shortly after a full minute on."""
    chance, number = Random(seed), count()
    brokers, seen = Brokers(capacity, chance), Seen([], list(relays))
    events: list[tuple[float, int, Relay | None, float, Way | None]] = []
    pauses: Iterator[float] = iter(lambda: chance.expovariate(pace), None)

    def send(relay: Relay, now: float) -> None:
        while relay.in_flight < relay.places(now + 1.0):
            relay.in_flight += 1
            heapq.heappush(events, (brokers.store(now), next(number), relay, now, Way.MAIL))

    def deliver(relay: Relay, now: float) -> None:
        for way in (Way.CLAIM, Way.PUT_OFF):
            heapq.heappush(events, (brokers.store(now), next(number), relay, now, way))
        heapq.heappush(events, (min(now + TICK, relay.idle_until), next(number), relay, now, None))

    for each in relays:
        heapq.heappush(events, (0.0, next(number), each, 0.0, None))
    if pace:
        heapq.heappush(events, (next(pauses), next(number), None, 0.0, None))
    while events and (event := heapq.heappop(events))[0] < seconds:
        now, _, relay, began, way = event
        if relay is None:
            seen.waits.append((now, brokers.store(now) - now))
            heapq.heappush(events, (now + next(pauses), next(number), None, 0.0, None))
        elif way is None:
            (deliver if now < relay.idle_until else send)(relay, now)
        else:
            if relay.window is not None:
                relay.window.confirmed(way, began, now, in_flight=relay.in_flight)
            if way is Way.MAIL:
                relay.in_flight -= 1
                relay.stored.append(now)
                send(relay, now)
    return seen


def bulk() -> Relay:
    return Relay(Window())


@pytest.mark.parametrize("relays", [1, 3])
def test_mail_of_others_waits_little_longer_beside_bulk_and_much_longer_beside_an_undeclared_flood(relays: int) -> None:
    alone = play(40.0, pace=100.0).p99()
    beside_bulk = play(40.0, *(bulk() for _ in range(relays)), pace=100.0).p99()
    beside_flood = play(40.0, *(Relay(None) for _ in range(relays)), pace=100.0).p99()
    assert beside_bulk - alone < 2.5 * TARGET
    assert beside_flood - alone > 10 * TARGET


def test_bulk_takes_what_is_left_whether_that_is_much_or_little() -> None:
    for pace, least in ((0.0, 0.9), (100.0, 0.85), (400.0, 0.5)):
        (rate,) = play(60.0, bulk(), pace=pace).rates(WARM_UP, 60.0)
        assert least * (500.0 - pace) < rate <= 500.0 - pace + 10, (pace, rate)


@pytest.mark.parametrize("rests", [True, False])
def test_relays_share_it_evenly_since_all_rest_at_once(monkeypatch: pytest.MonkeyPatch, rests: bool) -> None:
    """Without rests the last to come takes the queue of the others for what the brokers take anyway."""
    if not rests:
        monkeypatch.setattr(windows, "REST", 0.0)
    rates = play(2 * PERIOD, *(bulk() for _ in range(4)), capacity=lambda now: 1000.0).rates(PERIOD + 5, 2 * PERIOD)
    assert sum(rates) > 900.0
    assert (min(rates) > 0.8 * max(rates)) is rests, rates


def test_when_brokers_become_slow_it_yields_goes_on_and_comes_back() -> None:
    relay = bulk()
    seen = play(90.0, relay, capacity=lambda now: 10.0 if 20.0 <= now < 50.0 else 500.0)
    assert 5.0 < seen.rates(25.0, 50.0)[0] <= 11.0, "all that there is, by few in flight"
    assert seen.rates(60.0, 90.0)[0] > 450.0
    assert relay.window is not None
    assert relay.window.size > LEAST


def test_others_that_take_all_leave_it_little_but_not_nothing() -> None:
    (rate,) = play(60.0, bulk(), pace=520.0).rates(20.0, 60.0)
    assert 0.0 < rate < 100.0


def test_a_burst_into_a_relay_that_only_delivered_meets_brokers_little_by_little() -> None:
    """From its first moment on."""
    idle = 30.0
    alone = play(idle + 1.0, pace=100.0).p99(since=idle)
    beside = play(idle + 1.0, *(Relay(Window(), idle_until=idle) for _ in range(3)), pace=100.0)
    assert beside.p99(since=idle) - alone < 4 * TARGET, "RFC 6817's 100 ms, though three begin at once"
    assert all(each.window is not None and each.window.hands > LEAST for each in beside.relays)
