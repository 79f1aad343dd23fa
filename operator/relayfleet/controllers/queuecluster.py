"""QueueCluster: gather what is there, decide, act. Secrets first, then children, then the brokers from inside, then what the status says."""

from __future__ import annotations

import asyncio
import datetime
import time
from dataclasses import replace

from pydantic import ValidationError

from relayfleet.api.labels import QUEUE
from relayfleet.api.queuecluster import ManagedRabbitMQ, QueueClusterSpec
from relayfleet.children.rabbitmq import names
from relayfleet.controllers import queuebrokers, queueexternal, queuepods, queueprobes, queuesealing
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuechildren import Children, Outcome, stateful_set
from relayfleet.controllers.queuefarewell import farewell
from relayfleet.controllers.queuememory import QueueMemory, of
from relayfleet.controllers.queuesecrets import Held, Secrets
from relayfleet.controllers.specs import paused, why_invalid
from relayfleet.controllers.telling import tell
from relayfleet.decide.queue.facts import Cluster, Pod
from relayfleet.decide.queue.size import brokers_wanted
from relayfleet.decide.queue.statements import invalid, statements
from relayfleet.decide.queue.stuck import to_replace
from relayfleet.kube.client import Object, Objects

AGAIN = 2.0
"""Seconds until the next look: Secrets are not watched, so a deleted one is missed no longer than this."""

STALE = 1.0
"""Seconds after which what was read of a queue at the beginning of a look is read again before anything is told."""


async def reconcile(context: Context, namespace: str, name: str) -> float | None:
    """Bring a queue to what its spec says, as far as can be now."""
    queue = await context.kube.get("QueueCluster", namespace, name)
    if queue is None:
        context.brokers.forget((namespace, name))
        return await farewell(context, namespace, name)
    if "deletionTimestamp" in queue["metadata"]:
        return None  # somebody's finalizer holds it; its end is an event
    try:
        spec = QueueClusterSpec.model_validate(queue["spec"])
    except ValidationError as error:
        context.brokers.forget((namespace, name))
        await tell(context, queue, invalid(why_invalid(error)), {})
        return None
    if spec.external:
        return await queueexternal.reconcile(context, queue, spec, spec.external)
    if len(name) > names.LONGEST:
        await tell(context, queue, invalid(_TOO_LONG), {})
        return None
    await _managed(context, queue, spec)
    return AGAIN


_TOO_LONG = (
    f"the name has more than {names.LONGEST} characters, and brokers' names are made of it: choose a shorter one"
)


async def retell(context: Context, namespace: str, name: str) -> None:
    """Tell at once what is new of brokers that do not answer. Looking after them asks their management API, which a broker that stands still
    holds up for seconds."""
    queue = await context.kube.get("QueueCluster", namespace, name)
    if queue is None or "deletionTimestamp" in queue["metadata"] or queueprobes.must_wait(context, queue):
        return
    cluster = await queueprobes.news(context, queue, of(context.memory, namespace, name))
    if cluster is not None:
        await tell(context, queue, statements(cluster), _fields(queue, cluster))


async def _managed(context: Context, queue: Object, spec: QueueClusterSpec) -> None:
    namespace, name = queue["metadata"]["namespace"], queue["metadata"]["name"]
    memory = of(context.memory, namespace, name)
    memory.orphan_since = memory.locked_since = None
    rabbitmq = spec.rabbitmq or ManagedRabbitMQ()
    live, pods, claims = await asyncio.gather(
        stateful_set(context, queue),
        context.kube.list("Pod", namespace, {QUEUE: name}),
        context.kube.list("PersistentVolumeClaim", namespace, {QUEUE: name}),
    )
    so_far = (queue.get("status") or {}).get("replicas")
    wanted = brokers_wanted(rabbitmq.replicas, so_far, _volumes(queue, claims))
    sealing = await queuesealing.bring(context, queue, spec, memory)
    held, outcome = await _state(context, queue, spec, wanted, live, bool(live or claims), memory)
    revision = ((outcome.stateful_set or {}).get("status") or {}).get("updateRevision", "")
    brokers = queuepods.facts(queue, pods, revision, datetime.datetime.now(datetime.UTC))
    began = time.monotonic()
    if _set_up(queue, memory):
        queueprobes.watch(context, queue, pods, held, wanted)
    if held.usable and not paused(queue):
        await _look_after(context, queue, brokers, pods, held, memory)
    cluster = Cluster(
        wanted=wanted,
        stated=rabbitmq.replicas,
        pods=brokers,
        brokers=memory.brokers,
        unreachable=memory.unreachable,
        set_up=_set_up(queue, memory),
        served=_served(queue),
        refused="; ".join(outcome.refused),
        lost=held.lost,
        keys_lost=sealing.lost,
        sealing_key=sealing.key,
        paused=paused(queue),
        unbound=tuple(each["metadata"]["name"] for each in claims if each["status"].get("phase") == "Pending"),
    )
    memory.cluster, memory.revision = cluster, revision
    if time.monotonic() - began > STALE:  # others have told meanwhile: this status and these pods are of the past
        await retell(context, namespace, name)
    elif not queueprobes.must_wait(context, queue):
        cluster = replace(cluster, probed=context.brokers.of((namespace, name)))
        await tell(context, queue, statements(cluster), _fields(queue, cluster))


async def _state(
    context: Context,
    queue: Object,
    spec: QueueClusterSpec,
    wanted: int,
    live: Object | None,
    made_before: bool,
    memory: QueueMemory,
) -> tuple[Held, Outcome]:
    """Secrets and children."""
    secrets = Secrets(context, queue, memory)
    if paused(queue):
        return await secrets.look(), Outcome(live)
    held = await secrets.bring(made_before)
    if held.lost:
        return held, Outcome(live)
    return held, await Children(context, queue, spec, wanted, memory).bring(live)


async def _look_after(
    context: Context, queue: Object, brokers: tuple[Pod, ...], pods: Objects, held: Held, memory: QueueMemory
) -> None:
    """What is done to pods and to the brokers in them."""
    for each in to_replace(brokers):
        await context.kube.delete("Pod", queue["metadata"]["namespace"], each)
    if any(each.ready for each in brokers):
        await queuebrokers.look_after(queuepods.endpoints(queue, pods), held.admin, held.client, brokers, memory)
    else:
        memory.brokers, memory.unreachable = None, ""


def _set_up(queue: Object, memory: QueueMemory) -> bool:
    """Whether the users of relays and probers were once made."""
    return memory.brokers is not None or "version" in (queue.get("status") or {})


def _served(queue: Object) -> bool:
    """Whether brokers that do not serve now are a loss, and not just new."""
    conditions = (queue.get("status") or {}).get("conditions") or []
    ready: Object = next((each for each in conditions if each["type"] == "Ready"), {})
    return ready.get("status") == "True" or ready.get("reason") == "NoMajority"


def _volumes(queue: Object, claims: Objects) -> int:
    """How many brokers have, or once had, a volume."""
    prefix = f"{names.VOLUME}-{names.base(queue)}-"
    numbers = [each["metadata"]["name"].removeprefix(prefix) for each in claims]
    return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)


def _fields(queue: Object, cluster: Cluster) -> Object:
    serving = len(cluster.serving)
    before = (queue.get("status") or {}).get("version")
    return {
        "replicas": cluster.wanted,
        "readyReplicas": serving,
        "brokers": f"{serving}/{cluster.wanted}",
        "version": cluster.brokers.version if cluster.brokers else before,
        "sealingKey": cluster.sealing_key,
    }
