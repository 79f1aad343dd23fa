"""A queue whose brokers somebody else runs: look whether they answer, and say so. Nothing is changed there.

An address that fails is looked at again soon, and only the second failure in a row is told: one lost packet is no news.
"""

from __future__ import annotations

import asyncio

from relayfleet.api.queuecluster import ExternalBroker, QueueClusterSpec
from relayfleet.controllers import queuesealing
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuememory import of
from relayfleet.controllers.telling import tell
from relayfleet.decide.queue import external
from relayfleet.decide.queue.versions import oldest
from relayfleet.kube.client import Object
from relayfleet.observe import greeting

CALM, UNCALM, ANSWER = 15.0, 2.0, 3.0
"""Seconds between two looks, while all answer and else; and for an answer."""


async def reconcile(context: Context, queue: Object, spec: QueueClusterSpec, broker: ExternalBroker) -> float:
    """Look once, and see to the keys by which records are sealed; returns the seconds until the next look."""
    memory = of(context.memory, queue["metadata"]["namespace"], queue["metadata"]["name"])
    sealing = await queuesealing.bring(context, queue, spec, memory)
    name = None if broker.tls is None else broker.tls.server_name
    asked = (greeting.greet(each, ANSWER, tls=broker.tls is not None, server_name=name) for each in broker.addresses)
    heard = dict(zip(broker.addresses, await asyncio.gather(*asked), strict=True))
    failed = frozenset(address for address, said in heard.items() if said.failure)
    key = ("external", queue["metadata"]["namespace"], queue["metadata"]["name"])
    again, known = context.memory.get(key, (failed, {}))
    # Who does not answer this once is as old as before.
    versions = {each: known.get(each, "") if said.failure else said.version for each, said in heard.items()}
    context.memory[key] = failed, versions
    seen = [
        external.Address(address, said.failure if address in again else "", versions[address])
        for address, said in heard.items()
    ]
    fields = {
        "brokers": f"{sum(not each.failure for each in seen)}/{len(seen)}",
        "version": oldest(each.version for each in seen) or (queue.get("status") or {}).get("version"),
        "sealingKey": sealing.key,
    }
    await tell(context, queue, external.statements(seen, sealing.lost), fields)
    return UNCALM if failed else CALM
