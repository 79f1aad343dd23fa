"""Looking after the brokers through their management API: the relays' user, members of queues, leaders."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from typing import Any

from relayfleet.act.broker import generate
from relayfleet.act.broker.errors import BrokerError
from relayfleet.act.broker.management import Endpoint, Management, Rights
from relayfleet.children.rabbitmq import names
from relayfleet.controllers.queuememory import QueueMemory
from relayfleet.decide.queue.facts import Brokers, Pod, Queue
from relayfleet.decide.queue.members import additions, lacking
from relayfleet.protocol import requeuing
from relayfleet.protocol.brokerprobing import CANARY, EXCHANGE

log = logging.getLogger(__name__)

CALM, UNCALM = 15.0, 2.0
"""Seconds between two questions: while nothing changes, and while something is under way."""

RAFT_STORE = "khepri_db"
"""RabbitMQ's feature flag for keeping users, queues and permissions by Raft."""

_CANARY, _EXCHANGE = re.escape(CANARY), re.escape(EXCHANGE)
_BOTH = f"^({_CANARY}.*|{_EXCHANGE})$"
CANARIES = Rights(configure=f"^{_CANARY}", write=_BOTH, read=_BOTH)
"""What probers may. Not the default exchange, which would take records for every queue."""

_ROUNDS = 4
"""Members that a queue may get in one look: from three to seven."""


async def look_after(
    endpoints: Sequence[Endpoint],
    admin: dict[str, str],
    client: dict[str, str],
    pods: Sequence[Pod],
    memory: QueueMemory,
) -> None:
    """Ask, set right what is wrong, and remember the answer in `memory`. Does nothing while the last answer is fresh enough."""
    about = (tuple((pod.node, pod.ready, pod.current) for pod in pods), tuple(sorted(client.items())))
    age = time.monotonic() - memory.asked_at
    calm = not memory.unreachable and not memory.growing and memory.brokers is not None
    if about == memory.asked_about and age < (CALM if calm else UNCALM):
        return
    memory.asked_at, memory.asked_about = time.monotonic(), about
    try:
        async with Management(endpoints, admin["username"], admin["password"], admin["ca.crt"]) as management:
            if memory.sweep.locked is None:
                await _relays_may_log_in(management, client)
            await _probers_may_log_in(management, admin)
            brokers = await read(management)
            _log_uncounted(brokers, memory)
            await _keep_users_and_queues_in_raft(management, brokers, pods)
            memory.brokers = await _grown(management, brokers, pods, memory)
        memory.unreachable = ""
    except BrokerError as error:
        memory.brokers, memory.unreachable = None, str(error)


async def read(management: Management) -> Brokers:
    """Version, brokers, quorum queues. Raises BrokerError."""
    nodes = await management.nodes()
    listing = await management.listing()
    return Brokers(
        version=await management.version(),
        known=frozenset(each["name"] for each in nodes),
        running=frozenset(each["name"] for each in nodes if each.get("running")),
        alarms=tuple(sorted(alarm for each in nodes for alarm in _alarms(each))),
        queues=tuple(_queue(each) for each in listing.queues if each.get("type") == "quorum" and not _is_canary(each)),
        uncounted=listing.uncounted,
    )


async def records(management: Management) -> int | None:
    """How many records lie in all queues, those that relays hold included; None when one could not be counted. Zero is proven: each queue is
    asked for a record. Streams hold the journal, which is no mail, and neither is a prober's canary. Raises BrokerError."""
    listing = await management.listing()
    if listing.uncounted:
        return None
    queues = [
        each for each in listing.queues if each.get("type") != "stream" and not _is_canary(each) and not _is_name(each)
    ]
    counts: list[int] = [each["messages"] for each in queues if isinstance(each.get("messages"), int)]
    if len(counts) < len(queues):
        return None
    if counted := sum(counts):
        return counted
    return sum([await management.holds_record(each["vhost"], each["name"]) for each in queues])


async def _keep_users_and_queues_in_raft(management: Management, brokers: Brokers, pods: Sequence[Pod]) -> None:
    """Once all brokers are together. The older store, with which a cluster of RabbitMQ before 4.2 begins, waits after a total stop for the
    broker that stopped last, which may be the one that is lost; with this one any majority gets going again."""
    if brokers.running >= {pod.node for pod in pods} and await management.enable(RAFT_STORE):
        log.info("the brokers now keep users and queues in Raft (%s)", RAFT_STORE)


async def _relays_may_log_in(management: Management, client: dict[str, str]) -> None:
    if await management.set_user(client["username"], client["password"]):
        log.info("the brokers' user %s has a new password", client["username"])
    await management.allow(client["username"], names.VHOST)


def prober_password(admin: dict[str, str]) -> str:
    """Of the probers' user: it follows from the operator's, so every leader knows it and no Secret holds it."""
    return generate.derived(admin["password"], "relayfleet prober")


async def _probers_may_log_in(management: Management, admin: dict[str, str]) -> None:
    await management.set_user(names.PROBER_USER, prober_password(admin))
    await management.allow(names.PROBER_USER, names.VHOST, CANARIES)


async def _grown(management: Management, brokers: Brokers, pods: Sequence[Pod], memory: QueueMemory) -> Brokers:
    """Give queues the members that they lack, and spread the leaders once when none lacks one any more."""
    able = [pod.node for pod in pods if pod.ready]
    for _ in range(_ROUNDS):
        due = additions(brokers, able)
        if not due:
            break
        memory.growing = True
        for each in due:
            await management.add_member(each.vhost, each.queue, each.node)
        log.info("%d queues get a member on one more broker", len(due))
        brokers = await read(management)
    if memory.growing and not lacking(brokers, [pod.node for pod in pods]):
        await management.spread_leaders()
        memory.growing = False
    return brokers


def _log_uncounted(brokers: Brokers, memory: QueueMemory) -> None:
    """The brokers' own words, once: the status says what follows."""
    if brokers.uncounted and not (memory.brokers and memory.brokers.uncounted):
        log.warning("the brokers do not count what is in their queues: %s", brokers.uncounted)


def _is_canary(queue: dict[str, Any]) -> bool:
    return str(queue.get("name", "")).startswith(CANARY)


def _is_name(queue: dict[str, Any]) -> bool:
    """What a relay that follows a Requeue has for itself: it holds no mail, and nobody else may ask it for a record."""
    return queue.get("type") == "classic" and requeuing.is_name(str(queue.get("name", "")))


def _alarms(node: dict[str, Any]) -> list[tuple[str, str]]:
    kinds = {"mem_alarm": "memory", "disk_free_alarm": "disk"}
    return [(node["name"], what) for key, what in kinds.items() if node.get(key) is True]


def _queue(found: dict[str, Any]) -> Queue:
    return Queue(
        vhost=found["vhost"],
        name=found["name"],
        members=frozenset(found.get("members") or ()),
        online=frozenset(found.get("online") or ()),
        leader=str(found.get("leader") or ""),
        messages=found.get("messages"),
    )
