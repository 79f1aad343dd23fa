"""The children of a managed queue, from what the user stated."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from relayfleet.act.kubernetes.children import NotOursError, state
from relayfleet.api.labels import DELETION_POLICY, INPUTS, TEMPLATE
from relayfleet.api.queuecluster import ManagedRabbitMQ, QueueClusterSpec
from relayfleet.children.rabbitmq import config, disruption, names, networkpolicy, pod, service, statefulset
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuememory import QueueMemory
from relayfleet.decide import rollout
from relayfleet.kube.client import Object
from relayfleet.kube.errors import KubeForbidden, KubeInvalid


@dataclass(slots=True)
class Outcome:
    """The StatefulSet as it is now, and why the API server refused a child."""

    stateful_set: Object | None = None
    refused: list[str] = field(default_factory=list)


class Children:
    """Brings the children of one queue to what is wanted. One that is refused does not keep the others from being stated."""

    def __init__(
        self,
        context: Context,
        queue: Object,
        spec: QueueClusterSpec,
        brokers: int,
        memory: QueueMemory,
    ) -> None:
        self._context = context
        self._queue = queue
        self._spec = spec
        self._rabbitmq = (spec.rabbitmq or ManagedRabbitMQ()).model_copy(update={"replicas": brokers})
        self._memory = memory
        self._outcome = Outcome()

    async def bring(self, live: Object | None) -> Outcome:
        """State all children, `live` being the StatefulSet that is there. The configuration comes before the brokers that read it."""
        self._outcome.stateful_set = live
        await asyncio.gather(
            self._state(config.config_map(self._queue, self._rabbitmq, self._spec.template)),
            self._state(service.service(self._queue)),
            self._state(disruption.disruption_budget(self._queue)),
            self._state(networkpolicy.network_policy(self._queue, self._context.settings.namespace)),
        )
        if not self._outcome.refused:
            self._outcome.stateful_set = await self._state(self._stateful_set(live)) or live
        return self._outcome

    def _stateful_set(self, live: Object | None) -> Object:
        kept = live["metadata"].get("annotations", {}) if live else {}
        inputs = rollout.digest(pod.inputs(self._queue, self._spec.template))
        built = pod.pod_template(self._queue, self._spec.template, self._context.settings.rabbitmq_image)
        choice = rollout.choose_template(kept.get(TEMPLATE), kept.get(INPUTS), inputs, built)
        policy = self._spec.deletion_policy
        annotations = {TEMPLATE: choice.text, INPUTS: choice.inputs, DELETION_POLICY: policy}
        return statefulset.stateful_set(
            self._queue, self._rabbitmq, choice.template, annotations, outlives_owner=policy == "Delete"
        )

    async def _state(self, child: Object) -> Object | None:
        try:
            return await state(self._context.kube, child, self._memory.children)
        except (KubeInvalid, KubeForbidden, NotOursError) as error:
            self._outcome.refused.append(str(error))
            return None


async def stateful_set(context: Context, queue: Object) -> Object | None:
    """The StatefulSet that is there."""
    return await context.kube.get("StatefulSet", queue["metadata"]["namespace"], names.base(queue))
