"""The sealing keys of a queue: read by name, made, rotated, restored, and never replaced while mail may be sealed by them."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass

from relayfleet.api.meta import seconds
from relayfleet.api.queuecluster import QueueClusterSpec
from relayfleet.children import sealing as children
from relayfleet.children.rabbitmq.secrets import texts
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuememory import QueueMemory
from relayfleet.controllers.specs import paused
from relayfleet.decide.queue import sealing
from relayfleet.decide.queue.sealing import Decision, Step
from relayfleet.kube.client import Object
from relayfleet.protocol.sealing import ENTRY, ID_BYTES, SECRET_BYTES, Key, SealingError, current, load

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sealing:
    """`key`: the name of the one that seals, as far as is known. `lost`: the message for the person who has to act, or ""."""

    key: str | None
    lost: str = ""


async def bring(context: Context, queue: Object, spec: QueueClusterSpec, memory: QueueMemory) -> Sealing:
    """See that the Secret is there and right; a queue that is paused is only looked at. Raises KubeError."""
    namespace, name = queue["metadata"]["namespace"], children.name(queue["metadata"]["name"])
    live = await context.kube.get("Secret", namespace, name)
    known = (queue.get("status") or {}).get("sealingKey")
    try:
        found = _held(live)
    except SealingError as error:
        log.error("Secret %s/%s: %s", namespace, name, error)
        found, unreadable = None, True
    else:
        unreadable = False
    decision = _decide(found, memory.sealing, spec, begun=bool(known) or unreadable)
    if decision.step is Step.LOST:
        return Sealing(known, sealing.lost(name))
    if paused(queue):
        return Sealing(known)
    keys = _with_secrets(decision, found or (), memory.sealing or ())
    if decision.step is Step.WRITE:
        await _write(context, queue, keys, is_there=live is not None)
    memory.sealing = keys
    seals = current(keys)
    return Sealing(seals.id if seals else known)


def _held(live: Object | None) -> tuple[Key, ...] | None:
    """What the Secret holds: None without one, nothing when it is empty. Raises SealingError for one with anything else in it."""
    if live is None:
        return None
    if not live.get("data"):
        return ()
    return load((texts(live) or {}).get(ENTRY, ""))


def _decide(
    found: tuple[Key, ...] | None, remembered: tuple[Key, ...] | None, spec: QueueClusterSpec, *, begun: bool
) -> Decision:
    return sealing.decide(
        None if found is None else _times(found),
        None if remembered is None else _times(remembered),
        begun=begun,
        now=int(time.time()),
        every=seconds(spec.sealing.rotate_every),
        fresh=secrets.token_hex(ID_BYTES),
    )


def _times(keys: tuple[Key, ...]) -> list[sealing.Key]:
    return [sealing.Key(each.id, each.made, each.since) for each in keys]


def _with_secrets(decision: Decision, found: tuple[Key, ...], remembered: tuple[Key, ...]) -> tuple[Key, ...]:
    """The keys that were decided on; what is remembered was read when it was good, so it comes before what is found."""
    known = {each.id: each.secret for each in (*found, *remembered)}
    return tuple(
        Key(each.id, known.get(each.id) or secrets.token_bytes(SECRET_BYTES), each.made, each.since)
        for each in decision.keys
    )


async def _write(context: Context, queue: Object, keys: tuple[Key, ...], *, is_there: bool) -> None:
    secret = children.secret(queue, keys)
    if is_there:
        await context.kube.apply(secret)
    else:
        await context.kube.create(secret)  # never over one that somebody made meanwhile
    seals = current(keys)
    log.info(
        "Secret %s/%s written: %d sealing keys, of which %s seals",
        queue["metadata"]["namespace"],
        secret["metadata"]["name"],
        len(keys),
        seals.id if seals else "none",
    )
