"""RelayPool: gather what is there, decide, act. Children first, then what the status says. Traffic is `relaytraffic`'s."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import replace

from pydantic import ValidationError

from relayfleet.api.labels import POOL
from relayfleet.api.queuecluster import QueueClusterSpec
from relayfleet.api.relaypool import BY_PROVIDER, PARK, RelayPoolSpec
from relayfleet.api.sendingip import SendingIPSpec
from relayfleet.children.relay import broker, names, resolvers
from relayfleet.controllers import relaycontrol, relaypods, relaysight, relaywatch
from relayfleet.controllers.context import Context
from relayfleet.controllers.evidence import PoolName
from relayfleet.controllers.queuememory import known
from relayfleet.controllers.relaychildren import Children, Needs, Outcome, memory_key
from relayfleet.controllers.relaywords import RelayWords
from relayfleet.controllers.specs import parsed, paused, why_invalid
from relayfleet.controllers.telling import tell
from relayfleet.decide.health.words import Level
from relayfleet.decide.pool import facts, lanes
from relayfleet.decide.pool.sealing import seals
from relayfleet.decide.pool.statements import invalid, statements
from relayfleet.decide.statement import Statement
from relayfleet.kube.client import Object, Objects

CALM, UNCALM = 60.0, 5.0
"""Seconds until the next look when no event comes: with all as asked, and while something is missing."""


async def reconcile(context: Context, namespace: str, name: str) -> float | None:
    """Bring a pool to what its spec says, as far as can be now."""
    pool = await context.kube.get("RelayPool", namespace, name)
    if pool is None or "deletionTimestamp" in pool["metadata"]:
        context.memory.pop(memory_key(namespace, name), None)
        relaycontrol.forget(context, (namespace, name))
        context.signing.keep((namespace, name), ())
        context.suppression.keep((namespace, name), ())
        context.sealing.keep((namespace, name), ())
        context.lanes.keep((namespace, name), ())
        context.parking.keep((namespace, name), ())
        context.dependencies.forget((namespace, name))
        context.usage.forget((namespace, name))
        return None  # its children go by their owner references
    try:
        spec = RelayPoolSpec.model_validate(pool["spec"])
    except ValidationError as error:
        await tell(context, pool, invalid(why_invalid(error)), {})
        return None
    pods, (needs, sources) = await asyncio.gather(
        relaysight.pods(context, namespace, name), _needs(context, pool, spec)
    )
    first = await _first(context, pool, spec, pods)
    needs = replace(
        needs,
        seal=_seals(context, pool, pods, first),
        lanes=_uses_lanes(context, pool, spec, pods, first),
        parks=_parks(context, pool, spec, pods, first),
    )
    relays = [pod for pod in pods if not relaypods.leaving(pod)]
    outcome = await _children(context, pool, spec, needs, relays)
    found = await _facts(context, pool, spec, needs, sources, relays, outcome)
    said = statements(found)
    orders = {"sealed": needs.seal, "providerLanes": needs.lanes, "parking": needs.parks}
    await tell(context, pool, said, _fields(name, found) | {each: begun or None for each, begun in orders.items()})
    return CALM if _calm(said) else UNCALM


async def _first(context: Context, pool: Object, spec: RelayPoolSpec, pods: Objects) -> bool:
    """Whether all relays will be of the operator's own image, since none was ever made. Of an image that the user chose only the relays themselves can tell
    what it knows."""
    if pods or spec.template.image or (pool.get("status") or {}).get("sealed"):
        return False  # whatever the Deployment says; the usual case costs no question
    namespace, name = relaywatch.pool_name(pool)
    return await context.kube.get("Deployment", namespace, names.of(name)) is None


def _seals(context: Context, pool: Object, pods: Objects, first: bool) -> bool:
    """Whether the relays seal."""
    whose, relays = relaywatch.pool_name(pool), [each["metadata"]["name"] for each in pods]
    context.sealing.keep(whose, relays)
    begun = bool((pool.get("status") or {}).get("sealed"))
    if begun or paused(pool):
        return begun
    return seals(begun=begun, first=first, opens=context.sealing.open(whose, relays))


def _uses_lanes(context: Context, pool: Object, spec: RelayPoolSpec, pods: Objects, first: bool) -> bool:
    """Whether the relays put mail into provider lanes."""
    wanted = spec.delivery.provider_lanes == BY_PROVIDER
    return _begins(context.lanes, pool, pods, "providerLanes", wanted=wanted, first=first)


def _parks(context: Context, pool: Object, spec: RelayPoolSpec, pods: Objects, first: bool) -> bool:
    """Whether the relays park mail for destinations that are known to be down."""
    wanted = spec.delivery.dead_destinations == PARK
    return _begins(context.parking, pool, pods, "parking", wanted=wanted, first=first)


def _begins(words: RelayWords[bool], pool: Object, pods: Objects, field: str, *, wanted: bool, first: bool) -> bool:
    """Whether the relays do what all of them have to know; `field`: of the status, which says that they do already."""
    whose, relays = relaywatch.pool_name(pool), [each["metadata"]["name"] for each in pods]
    words.keep(whose, relays)
    begun = bool((pool.get("status") or {}).get(field))
    if paused(pool):
        return begun
    return lanes.used(wanted=wanted, begun=begun, first=first, take=[words.of(whose, each) for each in relays])


async def _children(context: Context, pool: Object, spec: RelayPoolSpec, needs: Needs, relays: Objects) -> Outcome:
    if not paused(pool):
        return await Children(context, pool, spec).bring(needs, relays)
    await relaycontrol.look(context, pool)
    metadata = pool["metadata"]
    return Outcome(await context.kube.get("Deployment", metadata["namespace"], names.of(metadata["name"])))


async def _needs(context: Context, pool: Object, spec: RelayPoolSpec) -> tuple[Needs, facts.Sources]:
    namespace = pool["metadata"]["namespace"]
    queue, candidates = await asyncio.gather(
        context.kube.get("QueueCluster", namespace, spec.queue_ref.name), context.kube.list("SendingIP", namespace)
    )
    matching = [each for each in candidates if spec.sending_ip_selector.matches(each["metadata"].get("labels", {}))]
    used: list[tuple[str, SendingIPSpec]] = []
    elsewhere, unclaimed = [], []
    for each in sorted(matching, key=lambda each: str(each["metadata"]["name"])):
        source, name = parsed(SendingIPSpec, each), each["metadata"]["name"]
        if source and source.region != context.settings.region:
            elsewhere.append(name)
        elif source and _claimed(each):
            used.append((name, source))
        else:
            unclaimed.append(name)
    names_used = tuple(name for name, _ in used)
    return Needs(queue, used), facts.Sources(names_used, tuple(elsewhere), tuple(unclaimed))


def _claimed(sending_ip: Object) -> bool:
    """Whether its own controller has found that the address is its own. That is decided in one place; a new status wakes the pool."""
    ready = _condition(sending_ip, "Ready")
    return ready.get("status") == "True" and "deletionTimestamp" not in sending_ip["metadata"]


async def _facts(
    context: Context,
    pool: Object,
    spec: RelayPoolSpec,
    needs: Needs,
    sources: facts.Sources,
    relays: Objects,
    outcome: Outcome,
) -> facts.Pool:
    whose, now = relaywatch.pool_name(pool), datetime.datetime.now(datetime.UTC)
    failures, present = await _mount_failures(context, relays, now), [each["metadata"]["name"] for each in relays]
    context.signing.keep(whose, present)
    context.suppression.keep(whose, present)
    status = (outcome.deployment or {}).get("status", {})
    generation = (outcome.deployment or {}).get("metadata", {}).get("generation")
    return facts.Pool(
        region=context.settings.region,
        wanted=spec.replicas,
        queue=_queue(spec.queue_ref.name, needs.queue),
        sources=sources,
        pods=tuple(
            relaypods.facts(
                each,
                relaywatch.place(context, each, whose),
                now,
                failures,
                context.signing.of(whose, each["metadata"]["name"]),
                context.sealing.of(whose, each["metadata"]["name"]),
                context.suppression.of(whose, each["metadata"]["name"]),
            )
            for each in relays
        ),
        paused=paused(pool),
        outdated=max(0, status.get("replicas", 0) - status.get("updatedReplicas", 0)),
        settled=status.get("observedGeneration") == generation,
        refused="; ".join([*outcome.refused, *_no_pods(status)]),
        fencing=_fencing(context, whose, needs.queue, relays),
        sweep=_sweep(context, whose, spec.queue_ref.name),
        dependencies=context.dependencies.of(whose, spec.dependencies, present),
        resolvers=context.dependencies.resolvers_of(whose, resolvers.told(spec.resolvers), present),
        rules=tuple(f"{each.name} ({each.action})" for each in sorted(spec.delivery_rules, key=lambda rule: rule.name)),
        odd_cordons=tuple(sorted(each["metadata"]["name"] for each in relays if relaypods.odd_cordon(each))),
    )


def _fencing(context: Context, pool: PoolName, queue: Object | None, relays: Objects) -> facts.Fencing:
    spec = parsed(QueueClusterSpec, queue) if queue else None
    if queue is None or spec is None:
        return facts.Fencing()
    whose = (pool[0], queue["metadata"]["name"])
    here = {each["metadata"]["name"] for each in relays}
    return facts.Fencing(
        managed=spec.external is None,
        shared=tuple(sorted(each["metadata"]["name"] for each in relays if not broker.has_own_user(each))),
        why_not=context.fences.why_not(whose),
        cut=tuple(sorted(here & context.fences.fenced(whose).keys())),
    )


def _sweep(context: Context, pool: PoolName, queue: str) -> facts.Sweep | None:
    memory = known(context.memory, pool[0], queue)
    if memory is None or memory.sweep.pool != pool[1]:
        return None
    doubt = memory.sweep.doubt
    return facts.Sweep(doubt.broker, doubt.queue, doubt.kind == "stream") if doubt else facts.Sweep()


def _queue(name: str, queue: Object | None) -> facts.Queue:
    if queue is None:
        return facts.Queue(name, found=False, ready=False)
    ready = _condition(queue, "Ready")
    if not ready:
        return facts.Queue(name, ready=False, coming=True, message="it is new")
    coming = _condition(queue, "Reconciling").get("status") == "True"
    return facts.Queue(name, ready=ready["status"] == "True", coming=coming, message=ready["message"])


def _condition(obj: Object, type_: str) -> Object:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == type_), {})


def _no_pods(status: Object) -> list[str]:
    """Why the Deployment cannot make pods: a quota, say, or an admission policy."""
    conditions = status.get("conditions") or []
    return [each["message"] for each in conditions if each["type"] == "ReplicaFailure" and each["status"] == "True"]


async def _mount_failures(context: Context, relays: Objects, now: datetime.datetime) -> dict[str, str]:
    if not relaypods.held_up(relays, now):
        return {}
    namespace = relays[0]["metadata"]["namespace"]
    selector = "involvedObject.kind=Pod,reason=FailedMount"
    return relaypods.mount_failures(await context.kube.list("Event", namespace, fields=selector))


def _cordoned(pod: facts.Pod) -> Object:
    place = pod.place
    return {"name": pod.name, "level": place.level.value, "reason": place.reason, "message": place.message[:1024]}


def _fields(name: str, pool: facts.Pool) -> Object:
    out = [pod for pod in pool.pods if pod.place.level is not Level.ACTIVE]
    return {
        "replicas": len(pool.pods),
        "readyReplicas": pool.listed,
        "relays": f"{pool.listed}/{pool.wanted}",
        "selector": f"{POOL}={name}",
        "sendingIPs": list(pool.sources.used) or None,
        "cordoned": [_cordoned(each) for each in sorted(out, key=lambda each: each.name)[:100]] or None,
    }


def _calm(said: tuple[Statement, ...]) -> bool:
    """What relays tell of dependencies and resolvers comes by itself: that they tell nothing is no reason to look again soon."""
    wanted = {"Ready": "True", "Degraded": "False", "Reconciling": "False", "Stalled": "False"}
    if {("DependenciesReady", "False"), ("ResolversReady", "False")} & {(each.type, each.status) for each in said}:
        return False
    return all(wanted.get(each.type, each.status) == each.status for each in said)
