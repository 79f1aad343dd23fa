"""Which brokers of a queue are probed, as whom, and what is told at once when that shows something.

A broker becomes a case for probers when it is first ready, and stays one until its pod leaves: one that broke down is looked at, one that starts
is not.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace

from relayfleet.api.labels import QUEUE
from relayfleet.children.rabbitmq import names
from relayfleet.controllers import queuepods
from relayfleet.controllers.brokersights import QueueName
from relayfleet.controllers.brokerwords import REASONS
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuebrokers import prober_password
from relayfleet.controllers.queuememory import QueueMemory
from relayfleet.controllers.queuesecrets import Held
from relayfleet.decide.queue.facts import Cluster
from relayfleet.kube.client import Object, Objects
from relayfleet.protocol.brokerprobing import BrokerTarget


def queue_name(queue: Object) -> QueueName:
    """Namespace and name."""
    return queue["metadata"]["namespace"], queue["metadata"]["name"]


def watch(context: Context, queue: Object, pods: Objects, held: Held, replicas: int) -> None:
    """Have the queue's brokers probed."""
    whose = queue_name(queue)
    if not held.usable:
        context.brokers.forget(whose)
        return
    targets = {
        pod["metadata"]["name"]: _target(queue, number, pod, held.admin, replicas)
        for number, pod in queuepods.numbered(queue, pods)
        if _case(context, whose, pod)
    }
    context.brokers.see(whose, targets)


def must_wait(context: Context, queue: Object) -> bool:
    """Whether what the last leader said of a broker may still be so, and this one has not heard yet."""
    conditions: Sequence[Object] = (queue.get("status") or {}).get("conditions") or []
    said = any(each["reason"] in REASONS and each["status"] == "True" for each in conditions)
    return said and context.brokers.begins(queue_name(queue))


async def news(context: Context, queue: Object, memory: QueueMemory) -> Cluster | None:
    """The queue as it was last found, with its pods and what is seen of them as they are now; None before the first look."""
    cluster = memory.cluster
    if cluster is None:
        return None
    namespace, name = queue_name(queue)
    pods = await context.kube.list("Pod", namespace, {QUEUE: name})
    facts = queuepods.facts(queue, pods, memory.revision, datetime.datetime.now(datetime.UTC))
    return replace(cluster, pods=facts, probed=context.brokers.of((namespace, name)))


def _case(context: Context, whose: QueueName, pod: Object) -> bool:
    if "deletionTimestamp" in pod["metadata"] or not pod.get("status", {}).get("podIP"):
        return False
    return queuepods.ready(pod) or context.brokers.knows(_key(whose, pod))


def _key(whose: QueueName, pod: Object) -> str:
    """A pod that is made anew is another broker: it starts."""
    return "/".join((*whose, pod["metadata"]["name"], pod["metadata"].get("uid", "")))


def _target(queue: Object, number: int, pod: Object, admin: dict[str, str], replicas: int) -> BrokerTarget:
    return BrokerTarget(
        key=_key(queue_name(queue), pod),
        host=pod["status"]["podIP"],
        port=names.AMQPS,
        server_name=names.host(queue, number),
        vhost=names.VHOST,
        replicas=replicas,
        authority=admin["ca.crt"],
        username=names.PROBER_USER,
        password=prober_password(admin),
    )
