"""Queues of pools that are gone, at the brokers of a managed queue: removed once they are proven empty and nobody can write to them.

What has to hold, and for how long, is decided in `decide.queue.sweep`; why it suffices is in docs/decisions/0017. Here it is looked (once a minute, and
only when the brokers have queues of a pool that the watches do not know), and one pool after the other is taken through three steps:

1. *Lock.* The user that older relays share is taken away, and from now on relays of a pool of this name get no user (`relayusers`).
2. *Last look*, a while later: everything once more, and each queue is asked for a record.
3. *Remove*, one queue at a time, each only when there still is no pool and no record.

Whatever comes in between ends it: the lock is given back, and nothing else is owed, but for a deletion that was not answered: the lock stays until that
cannot come any more, and the pool that waits for it says so (`decide.pool.sweeping`). An own work with its own queue: brokers that do not answer hold
up nothing else.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time

from relayfleet.act.broker.errors import BrokerError
from relayfleet.act.broker.management import DEADLINE, Management
from relayfleet.api.labels import MANAGED_BY, MANAGER, POOL, QUEUE
from relayfleet.children.rabbitmq import names
from relayfleet.children.relay import broker
from relayfleet.children.relay.config import queue_space
from relayfleet.controllers import queuepods, relaypods, relayusers
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuebrokers import CANARIES
from relayfleet.controllers.queuememory import QueueMemory, known
from relayfleet.controllers.relayfences import QueueName
from relayfleet.controllers.relayuserhand import Way, name_of
from relayfleet.decide.queue.sweep import SETTLING, Doubt, Found, Sight, Step, obstacle, pools_of, queues_of
from relayfleet.kube.client import Object, Objects
from relayfleet.protocol import brokeruser

log = logging.getLogger(__name__)

LOOK, SOON = 60.0, 5.0
"""Seconds between two looks, and while the lock is in place."""

PAUSE = 0.3
"""Seconds between two deletions: each changes what all brokers know."""


async def reconcile(context: Context, namespace: str, name: str) -> None:
    """Look whether pools of this queue are gone, and go on with removing their queues. Called every few seconds. Raises KubeError."""
    queue, memory, now = (namespace, name), known(context.memory, namespace, name), time.monotonic()
    if memory is None or memory.brokers is None or now < memory.sweep.look_at:
        return
    space, sweep = queue_space(namespace, context.settings.region), memory.sweep
    seen = pools_of((each.name for each in memory.brokers.queues if each.vhost == names.VHOST), space)
    unknown = {pool for pool in seen if context.mirror.get("RelayPool", namespace, pool) is None}
    if not unknown and not sweep.pool:
        sweep.watch.saw((), now)
        return
    context.permit()
    sweep.look_at = now + (SOON if sweep.pool else LOOK)
    sweep.watch.saw((seen | {sweep.pool} - {""}) - await _pools(context, namespace), now)
    if not sweep.watch.due(now) and not sweep.pool:
        return
    way = await relayusers.read_way(context, queue)
    if way is None or not way.serving:
        return
    try:
        async with way.management(DEADLINE) as management:
            await _Hand(context, queue, memory, management, space).go_on(way)
    except BrokerError as error:
        log.warning("queues of pools that are gone at %s/%s: they are looked at again: %s", *queue, error)


class _Hand:
    """One look at one queue, and what comes of it. Errors are those of `act.broker.errors` and `kube.errors`."""

    def __init__(
        self, context: Context, queue: QueueName, memory: QueueMemory, management: Management, space: str
    ) -> None:
        self._context = context
        self._queue = queue
        self._memory = memory
        self._sweep = memory.sweep
        self._management = management
        self._space = space

    async def go_on(self, way: Way) -> None:
        """The next step, of one pool."""
        sight, now = await self._sight(way), time.monotonic()
        watch, said = self._sweep.watch, self._sweep.said
        self._sweep.said = {pool: said[pool] for pool in watch.gone if pool in said}
        for pool in watch.due(now):
            why = obstacle(pool, self._space, sight, locked=self._sweep.locked is not None)
            watch.judged(pool, why, now)
            self._say(pool, why)
        if self._sweep.pool:
            await self._finish(self._sweep.pool, sight)
        elif ready := [pool for pool in watch.due(now) if watch.step(pool, now, None) is Step.LOCK]:
            await self._lock(ready[0])

    async def _lock(self, pool: str) -> None:
        self._context.permit()
        self._sweep.pool, self._sweep.locked = pool, time.monotonic()
        try:
            await self._management.delete_user(names.CLIENT_USER)
        except BrokerError:
            self._release()  # nobody knows since when it is away, if it is
            self._sweep.look_at = time.monotonic() + LOOK
            raise
        self._sweep.locked = time.monotonic()
        self._sweep.look_at = self._sweep.locked + SETTLING

    async def _finish(self, pool: str, sight: Sight) -> None:
        """Remove them, or give it up, or wait on. While a deletion may still come, nobody is let in."""
        sweep, now = self._sweep, time.monotonic()
        if sweep.doubt is not None:
            sweep.doubt = sweep.doubt.seen(sweep.doubt.over(sight) or await self._never(sweep.doubt), now)
            if not sweep.doubt.gone(now):
                return
            sweep.doubt = None  # for good: what other brokers do from here on is not about this deletion
        step = sweep.watch.step(pool, now, sweep.locked)
        if step is Step.KEEP:
            self._release()
        elif step is Step.REMOVE:
            due = queues_of(pool, self._space, sight)
            removed = await self._removed(pool, due)
            self._release()
            if removed:
                await self._tell(pool, removed, len(due))

    async def _removed(self, pool: str, due: list[Found]) -> int:
        """Remove the pool's queues; how many."""
        if any([await self._holds_record(each) for each in due]):
            return 0
        for number, each in enumerate(due):
            if await self._is_back(pool) or await self._holds_record(each):
                return number
            self._context.permit()
            await self._remove(each)
            await asyncio.sleep(PAUSE)
        return len(due)

    async def _remove(self, queue: Found) -> None:
        host, asked = self._management.first, datetime.datetime.now(datetime.UTC)
        try:
            await self._management.delete_queue(names.VHOST, queue.name)
        except BaseException:
            self._sweep.doubt = Doubt(queue.name, queue.kind, host.partition(".")[0], asked)
            raise

    async def _never(self, doubt: Doubt) -> bool:
        """Whether a deletion will never be carried out although its broker stays away: the program has ended, and since then a majority of the queue's
        members has answered."""
        pods = await self._context.kube.list("Pod", self._queue[0], {QUEUE: self._queue[1]})
        newest = next((queuepods.newest(each) for each in pods if name_of(each) == doubt.broker), None)
        if not doubt.ended(newest):
            return False
        try:
            await self._management.holds_record(names.VHOST, doubt.queue)
        except BrokerError:
            return False
        return True

    async def _is_back(self, pool: str) -> bool:
        namespace, kube = self._queue[0], self._context.kube
        return bool(await kube.get("RelayPool", namespace, pool) or await kube.list("Pod", namespace, {POOL: pool}))

    async def _holds_record(self, queue: Found) -> bool:
        """Asked of a majority, where a count may be seconds old. A stream (the journal) holds no mail."""
        if queue.kind == "stream" or not await self._management.holds_record(names.VHOST, queue.name):
            return False
        log.error("%s/%s: %s holds a record, although nobody may write: nothing is removed", *self._queue, queue.name)
        return True

    def _release(self) -> None:
        """The brokers' next look makes the user again, and the relays' users are looked at every few seconds."""
        self._sweep.pool, self._sweep.locked, self._sweep.doubt = "", None, None
        self._sweep.look_at = self._memory.asked_at = float("-inf")

    async def _sight(self, way: Way) -> Sight:
        """Brokers first and pods after them, so that a user whose pod is in no list has none any more; pools last."""
        nodes, listing = await self._management.nodes(), await self._management.listing()
        consumed = await self._management.consumed(names.VHOST)
        rights, connected = await self._management.permissions(names.VHOST), await self._management.connected()
        pods = await self._context.kube.list("Pod", self._queue[0], {MANAGED_BY: MANAGER})
        relays = [each for each in pods if broker.queue_of(each) == self._queue[1] and not relaypods.ended(each)]
        ours = {way.admin["username"], *(brokeruser.username(name_of(each)) for each in relays)}
        if rights.get(names.PROBER_USER, CANARIES) == CANARIES:
            ours.add(names.PROBER_USER)
        return Sight(
            queues=tuple(_found(each) for each in listing.queues if each["vhost"] == names.VHOST),
            counted=not listing.uncounted,
            pools=frozenset(await _pools(self._context, self._queue[0])),
            consumed=frozenset(consumed),
            whole=all(each.get("running") for each in nodes),
            writers=frozenset(user for user, each in rights.items() if each.write not in ("", "^$")),
            connected=frozenset(connected),
            ours=frozenset(ours),
            shared=names.CLIENT_USER,
            sharing=frozenset(name_of(each) for each in relays if not broker.has_own_user(each)),
        )

    def _say(self, pool: str, why: str) -> None:
        if why and why != self._sweep.said.get(pool):
            log.info("RelayPool %s/%s is gone; its queues stay for now: %s", self._queue[0], pool, why)
        self._sweep.said[pool] = why

    async def _tell(self, pool: str, removed: int, of: int) -> None:
        text = f"RelayPool {pool} is gone and its queues were empty: {removed} of {of} were removed"
        log.info("%s/%s: %s", *self._queue, text)
        queue = await self._context.kube.get("QueueCluster", *self._queue)
        if queue is not None:
            await self._context.recorder.event(queue, "QueuesRemoved", text, action="Sweep")


async def _pools(context: Context, namespace: str) -> set[str]:
    """Pools that exist or that something still names, as the API server has it: pods may outlive their pool, and a Deployment that somebody
    kept may make new ones. All pools that can name a queue are in its namespace."""
    ours = {MANAGED_BY: MANAGER}
    made: Objects = [
        *await context.kube.list("Deployment", namespace, ours),
        *await context.kube.list("Pod", namespace, ours),
    ]
    stated = await context.kube.list("RelayPool", namespace)
    return {_name(each) for each in stated} | {
        each["metadata"]["labels"][POOL] for each in made if POOL in each["metadata"].get("labels", {})
    }


def _name(obj: Object) -> str:
    name: str = obj["metadata"]["name"]
    return name


def _found(queue: Object) -> Found:
    members, messages = set(queue.get("members") or ()), queue.get("messages")
    return Found(
        name=queue["name"],
        kind=queue.get("type") or "unknown",
        records=messages if isinstance(messages, int) else None,
        whole=bool(members) and members == set(queue.get("online") or ()),
    )
