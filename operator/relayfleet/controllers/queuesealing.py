"""The sealing keys of a queue: read by name, made, rotated, restored, and never replaced while mail may be sealed by them.

A leader restores keys that it has read. One that comes after they were deleted has read none, so a second Secret holds a copy: read once by each
leader, written whenever it differs from what the leader knows, and never mounted.
"""

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
    found, unreadable = _read(namespace, name, live)
    if memory.sealing is None:
        await _recall(context, queue, memory, is_there=bool(found))
    decision = _decide(found, memory.sealing, spec, begun=bool(known) or unreadable)
    if decision.step is Step.LOST:
        return Sealing(known, sealing.lost(name))
    if paused(queue):
        return Sealing(known)
    keys = _with_secrets(decision, found or (), memory.sealing or ())
    if decision.step is Step.WRITE:
        await _write(context, queue, keys, is_there=live is not None)
    memory.sealing = keys
    if memory.sealing_copy != keys:
        copy = children.copy(queue, keys)
        if await memory.copies.keep(context.kube, copy, time.monotonic()):
            memory.sealing_copy = keys
    seals = current(keys)
    return Sealing(seals.id if seals else known)


async def _recall(context: Context, queue: Object, memory: QueueMemory, *, is_there: bool) -> None:
    """Remember what the copy holds, at a leader's first look: a Secret that is gone, empty, or older than the copy (it was put back from a backup) gets from it
    what it lacks. `is_there`: it has keys."""
    namespace, name = queue["metadata"]["namespace"], children.copy_name(queue["metadata"]["name"])
    memory.sealing_copy, _ = _read(namespace, name, await context.kube.get("Secret", namespace, name))
    memory.sealing = memory.sealing_copy or None
    if memory.sealing and not is_there:
        log.warning(
            "Secret %s/%s is gone, empty or cannot be read: its keys are taken from Secret %s",
            namespace,
            children.name(queue["metadata"]["name"]),
            name,
        )


def _read(namespace: str, name: str, live: Object | None) -> tuple[tuple[Key, ...] | None, bool]:
    """The keys that a Secret holds, None without one and for one that cannot be read, which is the second."""
    try:
        return _held(live), False
    except SealingError as error:
        log.error("Secret %s/%s: %s", namespace, name, error)
        return None, True


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
