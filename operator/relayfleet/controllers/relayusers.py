"""The relays' own users at the brokers of a managed queue: made when a pod comes, taken away when it has gone, or does not answer any more.

A work of its own with its own queue and deadline: brokers that do not answer hold up nothing else, least of all a cordon, which comes first
(`relaytraffic` wakes this afterwards). It is level-triggered like all work, and keeps in mind only what spares it questions.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from relayfleet.act.broker.errors import BrokerError
from relayfleet.api.labels import MANAGED_BY, MANAGER, POOL, QUEUE
from relayfleet.api.queuecluster import QueueClusterSpec
from relayfleet.children.relay import broker
from relayfleet.controllers import queuepods, relaypods, relaywatch
from relayfleet.controllers.context import Context
from relayfleet.controllers.evidence import PoolName
from relayfleet.controllers.queuememory import known, of
from relayfleet.controllers.queuesecrets import Secrets
from relayfleet.controllers.relayfences import QueueName
from relayfleet.controllers.relayuserhand import Hand, Memory, Way, name_of, pool_of
from relayfleet.controllers.specs import parsed, paused
from relayfleet.decide.pool.fencing import Access, access
from relayfleet.decide.queue.users import plan
from relayfleet.kube.client import Object, Objects
from relayfleet.kube.errors import KubeError

log = logging.getLogger(__name__)

CALM, WATCHFUL, TROUBLED = 5.0, 0.25, 1.0
"""Seconds until the next look: while all is as it should be; while a relay is out and may come back, or fall silent, at any moment; and
after a look that failed."""

DEADLINE = 6.0
"""Seconds for one look at a queue."""

TRUSTED = 10.0
"""Seconds for which addresses and passwords of brokers are used without asking the API server again."""


@dataclass(frozen=True, slots=True)
class Relays:
    """The relays of a queue: pods with a user of their own, by name, and what should become of the user. `watchful`: one may need another
    decision with time alone."""

    pods: Mapping[str, Object]
    wanted: dict[str, Access]
    watchful: bool = False

    @property
    def fenced(self) -> set[str]:
        """Those that must not be able to log in."""
        return {each for each, what in self.wanted.items() if what is Access.FENCE}


async def reconcile(context: Context, namespace: str, name: str) -> float | None:
    """Bring the users of a queue's relays to what they should be, as far as can be now."""
    context.permit()
    queue, memory = (namespace, name), context.memory.setdefault(("users", namespace, name), Memory())
    way = await _way(context, queue, memory)
    if way is None:
        context.memory.pop(("users", *queue), None)
        context.fences.forget(queue)
        return None
    if not way.serving:
        memory.read_at = float("-inf")
        return TROUBLED  # the pool's status says that its queue is not ready
    relays = _relays(context, queue, context.mirror.list("Pod", namespace, {MANAGED_BY: MANAGER}))
    why_not = await _brought(context, queue, way, memory, relays) if _due(memory, relays) else ""
    await _tell(context, memory)
    pools = {pool_of(pod) for pod in relays.pods.values()}
    cut = {each: pool_of(relays.pods[each]) for each in memory.cut & relays.pods.keys()}
    context.fences.say(queue, pools, cut, why_not)
    if why_not:
        return TROUBLED
    return WATCHFUL if relays.watchful else CALM


def queues(context: Context, namespace: str, pool: str) -> set[str]:
    """The managed queues at which the pool's relays log in."""
    found = (broker.queue_of(pod) for pod in context.mirror.list("Pod", namespace, {POOL: pool}))
    return {each for each in found if each}


async def _way(context: Context, queue: QueueName, memory: Memory) -> Way | None:
    """None when the queue is not ours to look after. While the API server does not answer, the way that is known is gone on with."""
    if memory.way and time.monotonic() - memory.read_at < TRUSTED:
        return memory.way
    try:
        memory.way, memory.read_at = await read_way(context, queue), time.monotonic()
    except KubeError:
        if memory.way is None:
            raise
    return memory.way


async def read_way(context: Context, queue: QueueName) -> Way | None:
    """How to reach the brokers of a queue; None when it is not ours to look after. Raises KubeError."""
    stated = await context.kube.get("QueueCluster", *queue)
    spec = parsed(QueueClusterSpec, stated) if stated else None
    if stated is None or spec is None or spec.external or paused(stated) or "deletionTimestamp" in stated["metadata"]:
        return None
    secrets = Secrets(context, stated, of(context.memory, *queue))
    held, pods = await asyncio.gather(secrets.look(), context.kube.list("Pod", queue[0], {QUEUE: queue[1]}))
    endpoints = tuple(queuepods.endpoints(stated, pods))
    seed = held.client.get("password", "")
    serving = held.usable and bool(seed) and any(map(queuepods.ready, pods))
    return Way(serving, endpoints, held.admin, seed)


def _relays(context: Context, queue: QueueName, pods: Objects) -> Relays:
    """Of pods that have not ended, those that log in at this queue as users of their own."""
    living = [each for each in pods if POOL in each["metadata"].get("labels", {}) and not relaypods.ended(each)]
    own = {name_of(each): each for each in living if broker.queue_of(each) == queue[1] and broker.has_own_user(each)}
    wanted: dict[str, Access] = {}
    watchful = False
    for pool in {pool_of(each) for each in own.values()}:
        members = [each for each in living if pool_of(each) == pool]
        decided, restless = _decided(context, queue, pool, members)
        wanted |= {name_of(each): decided.get(name_of(each), Access.GRANT) for each in members if name_of(each) in own}
        watchful = watchful or restless
    return Relays(own, wanted, watchful)


def _decided(context: Context, queue: QueueName, pool: PoolName, pods: Objects) -> tuple[dict[str, Access], bool]:
    """What should become of the users of a pool's relays, and whether that may change with time alone. A pool that is paused, or not looked at
    yet, is left as it is; its traffic work wakes this one. So is one whose older namesake's queues are being removed in this moment: its relays
    must not find a queue that is gone when they publish."""
    stated = context.mirror.get("RelayPool", *pool)
    memory = known(context.memory, *queue)
    swept = memory is not None and memory.sweep.pool == pool[1]
    if swept or stated is None or paused(stated) or not context.health.knows(pool):
        return dict.fromkeys(map(name_of, pods), Access.AS_IS), False
    found = {name_of(pod): context.health.witness(pool, name_of(pod)) for pod in pods}
    witnesses = {relay: each for relay, each in found.items() if each}
    return access(relaywatch.relays(context, pods, pool), witnesses), any(each.hard for each in witnesses.values())


def _due(memory: Memory, relays: Relays) -> bool:
    """Whether the brokers have to be asked: something is another one than the last time, a connection may be left, or it is time."""
    uncut = relays.fenced - memory.cut
    return relays.wanted != memory.wanted or bool(uncut) or time.monotonic() - memory.brought_at >= CALM


async def _brought(context: Context, queue: QueueName, way: Way, memory: Memory, relays: Relays) -> str:
    """Bring the brokers to it; why not, if not."""
    try:
        async with asyncio.timeout(DEADLINE), way.management() as management:
            await _bring(context, queue, Hand(context, management, way.seed, memory), relays)
    except (BrokerError, TimeoutError) as error:
        why = str(error) or f"the brokers did not do all that was asked within {DEADLINE:g} s"
        context.fences.counts.failures[queue] += 1
        memory.read_at = memory.brought_at = float("-inf")
        if why != context.fences.why_not(queue):
            log.warning("users of relays at %s/%s cannot be looked after: %s", *queue, why)
        return why
    return ""


async def _bring(context: Context, queue: QueueName, hand: Hand, relays: Relays) -> None:
    """Fences first: each is a question or two, and what follows may be thousands. Raises BrokerError and KubeError."""
    await asyncio.gather(*(hand.fence(relays.pods[each]) for each in relays.fenced))
    users = await hand.users()
    due = plan(users, relays.pods.keys(), relays.wanted)
    if set(due.remove) - relays.pods.keys():
        # Gone, as the watches tell; they may be late. After the users: see `decide.queue.users`.
        relays = _relays(context, queue, await context.kube.list("Pod", queue[0], {MANAGED_BY: MANAGER}))
        due = plan(users, relays.pods.keys(), relays.wanted)
    for each in due.remove:
        if each in relays.pods:  # it fell silent in this moment
            await hand.fence(relays.pods[each])
        else:
            await hand.remove(each)
    await hand.grant([relays.pods[each] for each in due.grant])
    hand.memory.cut &= relays.fenced
    hand.memory.wanted, hand.memory.brought_at = relays.wanted, time.monotonic()


async def _tell(context: Context, memory: Memory) -> None:
    """An event for each fence and each return, in the words of the cordon."""
    news, memory.news = memory.news, []
    for pod, fenced in news:
        relay, place = name_of(pod), relaywatch.place(context, pod, pool_of(pod))
        what = "is cut off from the brokers, its records go to others" if fenced else "answers again and may log in"
        log.warning("relay %s of %s/%s %s: %s", relay, *pool_of(pod), what, place.message)
        message = f"relay {relay} {what}: {place.message}"
        await context.recorder.event(
            pod, place.reason, message, warning=fenced, action="Fence" if fenced else "Unfence"
        )
