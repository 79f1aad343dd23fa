"""What the leading replica has in its memory, and the queues of what it has to look at. It lives as long as its lease.

Whatever comes in (a word of a prober, a window of a relay, an event) goes to those who want to know; whoever learns something new adds a name to
a queue. Each kind of work has a queue of its own where it may not wait for the others: traffic first of all.
"""

from __future__ import annotations

from prometheus_client.registry import Collector

from relayfleet.act.kubernetes.events import Recorder
from relayfleet.controllers import queuecluster, queuesweep, relaypool, relaysight, relaytraffic, relayusers, sendingip
from relayfleet.controllers.brokersights import BrokerSights
from relayfleet.controllers.context import Context
from relayfleet.controllers.evidence import PoolName
from relayfleet.controllers.handlers import TRAFFIC, USERS, Wiring
from relayfleet.controllers.relaydependencies import Reports
from relayfleet.controllers.relayfences import Fences
from relayfleet.controllers.relayhealth import Health
from relayfleet.controllers.relayusage import PoolUsages
from relayfleet.controllers.relaywords import LaneWords, ParkingWords, SealingWords, SigningWords, SuppressionWords
from relayfleet.controllers.trouble import Reconcile, reconciled
from relayfleet.decide.health.roster import Vantage
from relayfleet.kube.client import Kube
from relayfleet.protocol import telemetry
from relayfleet.protocol.probing import Seen
from relayfleet.runtime.brokermetrics import BrokerMetrics
from relayfleet.runtime.dependencymetrics import DependencyMetrics
from relayfleet.runtime.fencemetrics import FenceMetrics
from relayfleet.runtime.healthmetrics import HealthMetrics
from relayfleet.runtime.lease import Lease
from relayfleet.runtime.linkmetrics import LinkMetrics
from relayfleet.runtime.liveness import Liveness
from relayfleet.runtime.relaylinks import RelayLinks
from relayfleet.runtime.settings import Settings
from relayfleet.runtime.vantages import Vantages
from relayfleet.runtime.workqueue import Key, WorkQueue

RECONCILE: dict[str, Reconcile] = {
    "RelayPool": relaypool.reconcile,
    "SendingIP": sendingip.reconcile,
    "QueueCluster": queuecluster.reconcile,
}


class Leader:
    """One leadership. `lease` is held when it begins."""

    def __init__(self, settings: Settings, lease: Lease, kube: Kube) -> None:
        self._lease = lease
        self._stirred: set[Key] = set()
        self._queue, self._traffic, self._following = (
            WorkQueue(self._work),
            WorkQueue(self._direct),
            WorkQueue(self._follow),
        )
        self._glances, self._users = WorkQueue(self._retell, workers=2), WorkQueue(self._look_after_users)
        self._sweeps = WorkQueue(self._sweep, workers=2)
        self._health = Health(self._changed)
        self._sights, self._fences = BrokerSights(self._glance), Fences(self._again)
        self._reports = Reports(self._again)
        signing, sealing, suppression, lanes, parking = (
            SigningWords(self._again),
            SealingWords(self._again),
            SuppressionWords(self._again),
            LaneWords(self._again),
            ParkingWords(self._again),
        )
        self._words, self._usage = (signing, sealing, suppression, lanes, parking), PoolUsages()
        self.links = RelayLinks(telemetry.Hello(settings.identity, lease.epoch), self._take, self._usage.told)
        self._context = Context(
            kube,
            settings,
            Recorder(kube, settings.identity),
            self._health,
            self.links,
            self._reports,
            signing=signing,
            sealing=sealing,
            suppression=suppression,
            lanes=lanes,
            parking=parking,
            usage=self._usage,
            brokers=self._sights,
            fences=self._fences,
            permit=lease.check,
        )

    def metrics(self) -> tuple[Collector, ...]:
        """What this leadership tells Prometheus."""
        return (
            HealthMetrics(self._health),
            LinkMetrics(self.links),
            DependencyMetrics(self._reports),
            FenceMetrics(self._fences),
            BrokerMetrics(self._sights),
        )

    def queues(self) -> tuple[WorkQueue, ...]:
        """All of them, to be run."""
        return self._queue, self._traffic, self._following, self._glances, self._users, self._sweeps

    def wiring(self, liveness: Liveness) -> Wiring:
        """Which event adds which names to the queues."""
        return Wiring(self._queue, self._traffic, self._users, liveness, self._context.mirror)

    def probe_by(self, vantages: Vantages) -> None:
        """Have these watch what is to be watched."""
        self._health.probers = self._sights.probers = vantages
        self._health.watch()
        self._sights.watch()

    def hear(self, vantage: str, seen: Seen) -> None:
        """A prober's word."""
        self._health.take(vantage, seen)
        self._sights.take(vantage, seen)

    def present(self, vantages: tuple[Vantage, ...]) -> None:
        """Which probers there are now."""
        self._health.present(vantages)
        self._sights.present(vantages)

    def tick(self) -> None:
        """Time alone may change something."""
        self._health.tick()
        self._sights.tick()

    def _take(self, pool: PoolName, relay: str, window: telemetry.Window) -> None:
        self._health.take_window(pool, relay, window)
        for matter in self._words:
            matter.take_window(pool, relay, window)
        self._usage.take(pool, relay, window)
        self._reports.take(pool, relay, window)
        self._sights.take_window(window)

    # -- who learnt something new

    def _changed(self, namespace: str, name: str) -> None:
        self._stirred.add(Key(TRAFFIC, namespace, name))
        self._traffic.add(Key(TRAFFIC, namespace, name))

    def _again(self, namespace: str, name: str) -> None:
        self._queue.add(Key("RelayPool", namespace, name))

    def _glance(self, namespace: str, name: str) -> None:
        self._glances.add(Key("QueueCluster", namespace, name))

    # -- the work

    async def _work(self, key: Key) -> float | None:
        if key.kind == "QueueCluster":
            self._sweeps.add(key)  # brokers that hold a deletion up hold nothing else up
        return await reconciled(self._context, key.kind, key.namespace, key.name, RECONCILE[key.kind])

    async def _direct(self, key: Key) -> float | None:
        self._lease.check()  # before anything is looked at: without the lease nothing comes of it
        delay = await relaytraffic.reconcile(self._context, key.namespace, key.name)
        self._following.add(key)
        for name in relayusers.queues(self._context, key.namespace, key.name):
            self._users.add(Key(USERS, key.namespace, name))  # a fence comes after the slices, and holds none up
        return delay

    async def _follow(self, key: Key) -> None:
        if await relaysight.renew(self._context, key.namespace, key.name):
            self._traffic.add(key)
        await relaytraffic.follow(self._context, key.namespace, key.name)
        if key in self._stirred:
            self._stirred.discard(key)
            self._again(key.namespace, key.name)  # for its status; not before the traffic is where it should be

    async def _retell(self, key: Key) -> None:
        await queuecluster.retell(self._context, key.namespace, key.name)

    async def _sweep(self, key: Key) -> None:
        await queuesweep.reconcile(self._context, key.namespace, key.name)

    async def _look_after_users(self, key: Key) -> float | None:
        return await relayusers.reconcile(self._context, key.namespace, key.name)
