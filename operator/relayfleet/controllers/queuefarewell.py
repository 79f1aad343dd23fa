"""After a QueueCluster is gone: with deletionPolicy Delete its brokers are still there, and so is the question whether mail is.

Found by the StatefulSet alone, so a new leader goes on where the last one stopped. What has to go is handed to the StatefulSet as its owner, which
is then deleted: Kubernetes' garbage collector does the rest, and the operator needs no right to delete volumes or Secrets.
"""

from __future__ import annotations

import logging
import time

from relayfleet.act.broker.errors import BrokerError
from relayfleet.act.broker.management import Management
from relayfleet.api.labels import DELETION_POLICY, QUEUE
from relayfleet.children import sealing
from relayfleet.children.rabbitmq import names
from relayfleet.controllers import queuebrokers, queuepods
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuememory import QueueMemory, forget, of
from relayfleet.controllers.queuesecrets import Secrets
from relayfleet.decide.queue.farewell import Orphan, Step, next_step
from relayfleet.kube.client import Object
from relayfleet.protocol import brokeruser

log = logging.getLogger(__name__)

AGAIN = 2.0


async def farewell(context: Context, namespace: str, name: str) -> float | None:
    """Go on with what is left of a queue that does not exist any more; None when nothing is to be done."""
    queue = {"apiVersion": "", "kind": "QueueCluster", "metadata": {"namespace": namespace, "name": name}}
    brokers = await context.kube.get("StatefulSet", namespace, names.base(queue))
    if brokers is None or not _outlived(brokers):
        forget(context.memory, namespace, name)
        return None
    memory = of(context.memory, namespace, name)
    if memory.orphan_since is None:
        memory.orphan_since = time.monotonic()
    step, why = await _judge(context, queue, memory)
    if step in (Step.WAIT, Step.LOCK):
        return AGAIN
    if step is Step.REMOVE_ALL:
        await _hand_over(context, queue, brokers)
        await context.recorder.event(brokers, "QueueRemoved", "no record was left: brokers, volumes and Secrets go")
    else:
        text = f"deletionPolicy is Delete, but {why}: the brokers go, volumes and Secrets stay for a QueueCluster of the same name"
        log.warning("%s/%s: %s", namespace, name, text)
        await context.recorder.event(brokers, "MailKept", text, warning=True)
    await context.kube.delete("StatefulSet", namespace, names.base(queue), uid=brokers["metadata"]["uid"])
    forget(context.memory, namespace, name)
    return None


def _outlived(brokers: Object) -> bool:
    metadata = brokers["metadata"]
    policy = metadata.get("annotations", {}).get(DELETION_POLICY)
    return policy == "Delete" and not metadata.get("ownerReferences") and "deletionTimestamp" not in metadata


async def _judge(context: Context, queue: Object, memory: QueueMemory) -> tuple[Step, str]:
    """The next step and, in words, what is in the queues. Takes the relays' users away when that is the step."""
    records, why = None, ""
    try:
        async with await _management(context, queue) as management:
            records = await queuebrokers.records(management)
            why = f"{records} records are left" if records else "not all queues could be counted"
            step = _step(records, memory)
            if step is Step.LOCK:
                await _lock(management)
                memory.locked_since = time.monotonic()
            return step, why
    except (BrokerError, KeyError) as error:
        why = f"the brokers could not be asked whether mail is left ({error})"
    return _step(None, memory), why


async def _lock(management: Management) -> None:
    """Take all relays' users away: the one that older ones share, and those of their own."""
    for user in await management.users():
        if user == names.CLIENT_USER or brokeruser.relay_of(user) is not None:
            await management.delete_user(user)


def _step(records: int | None, memory: QueueMemory) -> Step:
    now = time.monotonic()
    age = now - (now if memory.orphan_since is None else memory.orphan_since)
    return next_step(Orphan(records, age, None if memory.locked_since is None else now - memory.locked_since))


async def _management(context: Context, queue: Object) -> Management:
    metadata = queue["metadata"]
    held = await Secrets(context, queue, of(context.memory, metadata["namespace"], metadata["name"])).look()
    pods = await context.kube.list("Pod", metadata["namespace"], {QUEUE: metadata["name"]})
    admin = held.admin
    return Management(queuepods.endpoints(queue, pods), admin["username"], admin["password"], admin["ca.crt"])


async def _hand_over(context: Context, queue: Object, brokers: Object) -> None:
    """Make the StatefulSet the owner of volumes and Secrets, so that they go with it."""
    namespace, name = queue["metadata"]["namespace"], queue["metadata"]["name"]
    owner = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": brokers["metadata"]["name"],
        "uid": brokers["metadata"]["uid"],
    }
    body = {"metadata": {"ownerReferences": [owner]}}
    for claim in await context.kube.list("PersistentVolumeClaim", namespace, {QUEUE: name}):
        await context.kube.patch("PersistentVolumeClaim", namespace, claim["metadata"]["name"], body)
    admin = (names.admin_secret(queue), names.admin_secret_copy(queue))
    made = (*admin, names.client_secret(queue), names.tls_secret(queue), sealing.name(name), sealing.copy_name(name))
    for each in made:
        if await context.kube.get("Secret", namespace, each):
            await context.kube.patch("Secret", namespace, each, body)
