"""Which relays of a pool are watched, by which port, and what of their verdicts outlives this leader.

A relay becomes a case for health when it first serves, and stays one until it leaves: one that broke down is judged, one that starts is not.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence

from relayfleet.api.meta import seconds
from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.children.meta import metadata
from relayfleet.children.relay import names
from relayfleet.controllers import relaycontrol, relaypods
from relayfleet.controllers.context import Context
from relayfleet.controllers.evidence import PoolName, key
from relayfleet.controllers.specs import paused
from relayfleet.decide.health import roster
from relayfleet.decide.health.state import State
from relayfleet.decide.health.store import load
from relayfleet.decide.pool.leaving import to_replace
from relayfleet.decide.pool.relays import Place, Relay
from relayfleet.kube.client import Object
from relayfleet.protocol.probing import DISCARD_DOMAIN, Target

log = logging.getLogger(__name__)

_KEY = "state.json"


def pool_name(pool: Object) -> PoolName:
    """Namespace and name."""
    return pool["metadata"]["namespace"], pool["metadata"]["name"]


async def watch(context: Context, pool: Object, spec: RelayPoolSpec, pods: Sequence[Object]) -> None:
    """Have the pool's relays watched. The first time a leader does so, it takes up what the one before knew."""
    name = pool_name(pool)
    state = None
    if not context.health.knows(name):
        state, _ = await asyncio.gather(_remembered(context, pool), relaycontrol.look(context, pool))
    watched = [pod for pod in pods if _case(context, name, pod, state)]
    address = _discard(context, name)
    targets = [_target(name, spec, pod, address) for pod in watched]
    context.health.see(name, spec.health, list(map(_member, watched)), targets, paused=paused(pool), state=state)


def place(context: Context, pod: Object, pool: PoolName) -> Place:
    """A relay's place in traffic by the last word on it."""
    return relaypods.place(pod, context.health.verdict(pool, pod["metadata"]["name"]))


def relays(context: Context, pods: Sequence[Object], pool: PoolName) -> list[Relay]:
    """The pool's relays as decisions about traffic see them: all that have an address."""
    return [relaypods.relay(pod, place(context, pod, pool)) for pod in pods if relaypods.addresses(pod)]


async def replace(context: Context, pool: Object, pods: Sequence[Object]) -> None:
    """Have one relay's pod made anew if it stays bad."""
    whose = pool_name(pool)
    verdicts = (context.health.verdict(whose, pod["metadata"]["name"]) for pod in pods)
    leaving = any(map(relaypods.leaving, pods))
    bad = to_replace((each for each in verdicts if each), leaving=leaving)
    pod = next((each for each in pods if bad and each["metadata"]["name"] == bad.relay), None)
    if bad is None or pod is None:
        return
    await context.kube.delete("Pod", whose[0], bad.relay, uid=pod["metadata"]["uid"])
    message = f"relay {bad.relay} has been hard cordoned for {bad.age:.0f} s ({bad.message}): its pod is made anew"
    await context.recorder.event(pool, bad.reason.value, message, warning=True, action="Replace")


async def remember(context: Context, pool: Object) -> None:
    """Write down who is cordoned, when that is another story than the last time: for the next leader."""
    document = context.health.document(pool_name(pool))
    story = {name: (each["level"], each["cordons"]) for name, each in document["relays"].items()}
    known = context.memory.get(("health", *pool_name(pool)), {})
    if story == known:
        return
    await context.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(pool, _name(pool)),
            "data": {_KEY: json.dumps(document, sort_keys=True)},
        }
    )
    context.memory["health", *pool_name(pool)] = story


def forget(context: Context, pool: PoolName) -> None:
    """The pool is gone, and with it its relays; what was written down goes by its owner reference."""
    context.health.forget(pool)
    if context.links:
        context.links.follow(pool, ())
    context.memory.pop(("health", *pool), None)
    context.memory.pop(("levels", *pool), None)


async def _remembered(context: Context, pool: Object) -> State | None:
    namespace, _ = pool_name(pool)
    found = await context.kube.get("ConfigMap", namespace, _name(pool))
    if found is None:
        return None
    try:
        document = json.loads(found["data"][_KEY])
        context.memory["health", *pool_name(pool)] = {
            name: (each["level"], each["cordons"]) for name, each in document["relays"].items()
        }
        return load(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("ConfigMap %s/%s is not what was written, all relays start anew: %s", namespace, _name(pool), error)
        return None


def _name(pool: Object) -> str:
    return f"{pool['metadata']['name']}-health"


def _case(context: Context, pool: PoolName, pod: Object, state: State | None) -> bool:
    name = pod["metadata"]["name"]
    if relaypods.leaving(pod) or not relaypods.addresses(pod):
        return False
    return relaypods.serves(pod) or bool(context.health.verdict(pool, name)) or bool(state and name in state.relays)


def _member(pod: Object) -> roster.Relay:
    return roster.Relay(pod["metadata"]["name"], pod["spec"].get("nodeName", ""), relaypods.manual(pod))


def _discard(context: Context, pool: PoolName) -> str:
    """The address of probe mails to the pool's relays, "" while there is none."""
    word = relaycontrol.discard(context, pool)
    return f"{word}@{DISCARD_DOMAIN}" if word else ""


def _target(pool: PoolName, spec: RelayPoolSpec, pod: Object, discard: str) -> Target:
    """The first listener that begins without TLS, as that says most for the least work; else the first."""
    listeners = list(enumerate(spec.listeners))
    plain = [each for each in listeners if each[1].tls != "Implicit"]
    number, listener = (plain or listeners)[0]
    host = next(iter(relaypods.addresses(pod).values()))
    return Target(
        key(*pool, pod["metadata"]["name"]),
        host,
        names.listener_port(number, 0),
        listener.tls == "Implicit",
        seconds(spec.health.interval),
        seconds(spec.health.timeout),
        tuple(spec.service.proxy_protocol.sources) if spec.service.proxy_protocol else (),
        discard,
    )
