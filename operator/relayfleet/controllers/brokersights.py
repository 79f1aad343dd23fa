"""What probers and relays tell of brokers, in the leader's memory: which broker is named is decided (`decide.queue.silence`) with each word, and
who has to write it down is told when that changes.

Nothing of it is evidence about a relay: `decide.health` knows a dead broker by what other relays get from it.
"""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from relayfleet.controllers.brokerwords import silent
from relayfleet.decide.health.roster import Vantage
from relayfleet.decide.queue.facts import Probed, Silent
from relayfleet.decide.queue.looks import NEVER, Broker, Kind, Look, Sight, Step, Traffic
from relayfleet.decide.queue.silence import faults, in_the_dark, publishing
from relayfleet.protocol.brokerprobing import BrokerSight, BrokerTarget
from relayfleet.protocol.probing import Seen
from relayfleet.protocol.telemetry import Window

FIRST_LOOKS = 4.0
"""Seconds in which a new leader hears of all brokers from all probers. Until then it does not take back what the last one said."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds, of the histogram of confirms; beyond the last one is `+Inf`."""

QueueName = tuple[str, str]
"""Namespace and name."""


class Probers(Protocol):
    """Whoever carries targets to the probers."""

    def watch_brokers(self, targets: Sequence[BrokerTarget]) -> None:
        """Probe these from now on, and no others."""


@dataclass(slots=True)
class Figures:
    """Totals of one broker since this leader came: `confirms` by bucket (the last is beyond all of them), their `seconds`, and what was not
    answered, by kind."""

    confirms: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)

    def count(self, sight: BrokerSight) -> None:
        """One more observation."""
        if sight.kind != "Answered":
            self.failures[sight.kind] += 1
        elif sight.step == "Publish":
            self.confirms[sum(sight.latency > each for each in BUCKETS)] += 1
            self.seconds += sight.latency


@dataclass(slots=True)
class _Watched:
    """One queue. `pods`: the pod of each key of the prober's; `hosts`: of each host that relays connect to; `since`: when it was first looked at."""

    since: float
    targets: tuple[BrokerTarget, ...] = ()
    pods: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    brokers: dict[str, Broker] = field(default_factory=dict)
    silent: dict[str, Silent] = field(default_factory=dict)
    dark: bool = False
    figures: dict[str, Figures] = field(default_factory=dict)


class BrokerSights:
    """Of all queues. `changed(namespace, name)` is called when another broker is named, or none; `clock` is monotonic, in seconds, `now` the
    time of day."""

    def __init__(
        self,
        changed: Callable[[str, str], None] = lambda namespace, name: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._changed, self._clock, self._now = changed, clock, now
        self._queues: dict[QueueName, _Watched] = {}
        self._keys: dict[str, QueueName] = {}
        self._hosts: dict[str, QueueName] = {}
        self._vantages: frozenset[str] = frozenset()
        self.probers: Probers | None = None

    def see(self, queue: QueueName, targets: Mapping[str, BrokerTarget]) -> None:
        """The queue's brokers as they are now, by the names of their pods. One that is made anew has another key, and starts afresh."""
        watched = self._queues.setdefault(queue, _Watched(self._clock()))
        wanted = tuple(targets[pod] for pod in sorted(targets))
        if watched.targets == wanted:
            return
        before = {pod: key for key, pod in watched.pods.items()}
        watched.brokers = {
            pod: watched.brokers[pod] if before.get(pod) == each.key else Broker() for pod, each in targets.items()
        }
        watched.figures = {pod: watched.figures.get(pod, Figures()) for pod in targets}
        watched.targets = wanted
        watched.pods = {each.key: pod for pod, each in targets.items()}
        watched.hosts = {each.server_name: pod for pod, each in targets.items()}
        self._index()
        self._judge(queue, watched)
        self.watch()

    def forget(self, queue: QueueName) -> None:
        """The queue is gone, or is no longer looked into."""
        if self._queues.pop(queue, None):
            self._index()
            self.watch()

    def knows(self, key: str) -> bool:
        """Whether this broker, by its target's key, has confirmed a record."""
        watched = self._queues[self._keys[key]] if key in self._keys else None
        return watched is not None and _known(watched.brokers[watched.pods[key]])

    def of(self, queue: QueueName) -> Probed:
        """What the queue's status is made of."""
        watched = self._queues.get(queue)
        if watched is None:
            return Probed()
        known = {pod: _known(broker) for pod, broker in watched.brokers.items()}
        named = tuple(replace(each, known=known.get(pod, False)) for pod, each in sorted(watched.silent.items()))
        return Probed(named, publishing(watched.brokers, self._clock()), watched.dark)

    def begins(self, queue: QueueName) -> bool:
        """Whether this leader has not heard enough yet to take back what the last one said."""
        watched = self._queues.get(queue)
        return watched is not None and self._clock() - watched.since < FIRST_LOOKS

    def present(self, vantages: tuple[Vantage, ...]) -> None:
        """Who looks now. What others saw counts no more."""
        self._vantages = frozenset(each.name for each in vantages)
        for watched in self._queues.values():
            for pod, broker in watched.brokers.items():
                looks = {name: look for name, look in broker.looks.items() if name in self._vantages}
                watched.brokers[pod] = replace(broker, looks=looks)

    def take(self, vantage: str, seen: Seen) -> None:
        """What a vantage saw. What is about brokers that nobody asked about is dropped."""
        touched = set()
        for sight in seen.brokers:
            if (queue := self._keys.get(sight.key)) is not None:
                self._look(vantage, self._queues[queue], sight)
                touched.add(queue)
        for queue in touched:
            self._judge(queue, self._queues[queue])

    def take_window(self, window: Window) -> None:
        """What a relay tells of its publishes. Another queue's broker of the same name does not exist: names have their namespace in them."""
        at = self._clock() - window.age
        for each in window.confirms:
            host = each.broker.rpartition(":")[0]
            if (queue := self._hosts.get(host)) is not None:
                watched = self._queues[queue]
                pod = watched.hosts[host]
                broker = watched.brokers[pod]
                watched.brokers[pod] = replace(broker, traffic=_traffic(broker.traffic, at, each.confirmed, each.late))

    def tick(self) -> None:
        """Decide where time alone may change something. Call it a few times a second."""
        for queue, watched in self._queues.items():
            self._judge(queue, watched)

    def figures(self) -> Iterable[tuple[QueueName, str, Figures, float | None, Silent | None]]:
        """Of each broker: its totals, for how long it has confirmed nothing (None: it never did), and what is said of it."""
        now = self._clock()
        for queue, watched in self._queues.items():
            for pod, broker in watched.brokers.items():
                last = max((look.confirmed for look in broker.looks.values()), default=NEVER)
                age = None if last == NEVER else now - last
                yield queue, pod, watched.figures[pod], age, watched.silent.get(pod)

    def watch(self) -> None:
        """Say again what is to be probed."""
        if self.probers:
            self.probers.watch_brokers([each for watched in self._queues.values() for each in watched.targets])

    def _look(self, vantage: str, watched: _Watched, sight: BrokerSight) -> None:
        pod, now = watched.pods[sight.key], self._clock()
        since = now - sight.since if sight.since else None
        seen = Sight(Kind(sight.kind), Step(sight.step), now - sight.age, sight.latency, since, sight.why)
        broker = watched.brokers[pod]
        look = broker.looks.get(vantage, Look()).seeing(seen)
        watched.brokers[pod] = replace(broker, looks={**broker.looks, vantage: look})
        watched.figures[pod].count(sight)

    def _judge(self, queue: QueueName, watched: _Watched) -> None:
        now = self._clock()
        found, dark = faults(watched.brokers, now), in_the_dark(watched.brokers, now)
        for pod, broker in watched.brokers.items():
            if broker.fault is not found.get(pod):
                watched.brokers[pod] = replace(broker, fault=found.get(pod))
        news = found.keys() != watched.silent.keys() or dark != watched.dark
        watched.dark = dark
        watched.silent = {
            pod: watched.silent.get(pod)
            or silent(pod, fault, self._now() - datetime.timedelta(seconds=now - fault.since))
            for pod, fault in found.items()
        }
        if news:
            self._changed(*queue)

    def _index(self) -> None:
        self._keys = {key: queue for queue, watched in self._queues.items() for key in watched.pods}
        self._hosts = {host: queue for queue, watched in self._queues.items() for host in watched.hosts}


def _known(broker: Broker) -> bool:
    return any(look.confirmed > NEVER for look in broker.looks.values())


def _traffic(before: Traffic, at: float, confirmed: int, late: int) -> Traffic:
    return Traffic(
        max(before.confirmed, at) if confirmed else before.confirmed, max(before.late, at) if late else before.late
    )
