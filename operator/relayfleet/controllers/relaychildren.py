"""The slow part of a pool's work: its children, from what the user stated, the queue and the SendingIPs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from relayfleet.act.kubernetes import pods
from relayfleet.act.kubernetes.children import NotOursError, state
from relayfleet.api.labels import CONFIG_DIGEST, DELETION_COST, INPUTS, TEMPLATE
from relayfleet.api.meta import size_in_bytes
from relayfleet.api.queuecluster import QueueClusterSpec
from relayfleet.api.relaypool import RelayPoolSpec
from relayfleet.api.sendingip import SendingIPSpec
from relayfleet.children.relay import (
    abilities,
    account,
    broker,
    config,
    dependencies,
    deployment,
    disruption,
    names,
    networkpolicy,
    pod,
    service,
    signing,
    submitters,
    suppression,
)
from relayfleet.controllers import relaycontrol, relaywatch
from relayfleet.controllers.context import Context
from relayfleet.controllers.specs import parsed
from relayfleet.decide import rollout
from relayfleet.decide.pool.leaving import deletion_cost
from relayfleet.kube.client import Object, Objects
from relayfleet.kube.errors import KubeForbidden, KubeInvalid

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a pool's children are made of besides the pool: its queue, if there is one, the SendingIPs that it may use, and whether its relays
    seal mail, put it into provider lanes, and park it."""

    queue: Object | None
    sources: Sequence[tuple[str, SendingIPSpec]]
    seal: bool = False
    lanes: bool = False
    parks: bool = False


@dataclass(slots=True)
class Outcome:
    """The Deployment as it is now (None: there is none yet), and why the API server refused a child."""

    deployment: Object | None = None
    refused: list[str] = field(default_factory=list)


class Children:
    """Brings the children of one pool to what is wanted. A child that is refused does not keep the others from being stated."""

    def __init__(self, context: Context, pool: Object, spec: RelayPoolSpec) -> None:
        self._context = context
        self._pool = pool
        self._spec = spec
        self._outcome = Outcome()
        self._memory = context.memory.setdefault(memory_key(pool["metadata"]["namespace"], self._name), {})

    @property
    def _name(self) -> str:
        name: str = self._pool["metadata"]["name"]
        return name

    async def bring(self, needs: Needs, relays: Objects) -> Outcome:
        """State all children, then mark the pods. Without a queue, what depends on it is left as it is."""
        await asyncio.gather(
            self._unless_refused(relaycontrol.bring(self._context, self._pool, self._memory)),
            self._state(account.service_account(self._pool)),
            self._state(disruption.disruption_budget(self._pool)),
            self._state(service.service(self._pool, self._spec.service, self._spec.listeners)),
        )
        digest = await self._with_queue(needs)
        await asyncio.gather(*(self._mark(each, digest) for each in relays))
        return self._outcome

    async def _with_queue(self, needs: Needs) -> str | None:
        """The children that need to know the queue; returns the digest of the relays' configuration."""
        queue = parsed(QueueClusterSpec, needs.queue) if needs.queue else None
        if needs.queue is None or queue is None:
            metadata = self._pool["metadata"]
            self._outcome.deployment = await self._context.kube.get(
                "Deployment", metadata["namespace"], names.of(self._name)
            )
            return None
        region = self._context.settings.region
        prefix = config.queue_prefix(self._pool, region)
        access = broker.access(needs.queue, queue, prefix, size_in_bytes(self._spec.quota))
        document = config.document(
            self._pool,
            self._spec,
            needs.sources,
            access.broker,
            region,
            seal=needs.seal,
            lanes=needs.lanes,
            parks=needs.parks,
        )
        text, digest = config.rendered(document)
        external = queue.external.addresses if queue.external else ()
        policy = networkpolicy.network_policy(
            self._pool,
            len(self._spec.listeners),
            needs.queue["metadata"]["name"],
            external,
            self._context.settings.namespace,
            dependencies.ports(self._spec.dependencies),
        )
        # In this order: a relay that is told to ask before it may connect would take a dependency for dead.
        await self._state(policy)
        await self._state(config.config_map(self._pool, text))
        await self._deployment(access.volume)
        return digest

    async def _deployment(self, broker_volume: Object) -> None:
        settings = self._context.settings
        live = await self._context.kube.get("Deployment", self._pool["metadata"]["namespace"], names.of(self._name))
        kept = live["metadata"].get("annotations", {}) if live else {}
        inputs = rollout.digest(self._inputs(broker_volume))
        built = pod.template(self._pool, self._spec, broker_volume, settings.image, settings.region)
        choice = rollout.choose_template(kept.get(TEMPLATE), kept.get(INPUTS), inputs, built)
        if not abilities.followed(self._spec, choice.template):
            choice = rollout.choose_template(None, None, inputs, built)
        annotations = {TEMPLATE: choice.text, INPUTS: choice.inputs}
        wanted = deployment.deployment(self._pool, self._spec.replicas, choice.template, annotations)
        self._outcome.deployment = await self._state(wanted)

    def _inputs(self, broker_volume: Object) -> Object:
        """What the user stated about the pods: a change of it, and nothing else, rolls them. What is not stated is left out where it came
        later than pods that run."""
        asked, listed = dependencies.volume(self._spec.dependencies), self._spec.suppression_list
        return {
            "template": self._spec.template.as_dict(),
            "auth": self._spec.auth_secret_ref and self._spec.auth_secret_ref.name,
            "tls": self._spec.tls_secret_ref and self._spec.tls_secret_ref.name,
            "grace": self._spec.drain.grace_period,
            "broker": broker_volume,
            # Only where it is stated, so that pools from before it keep their digest, and their relays.
            **({"dkim": signing.volume(self._spec.dkim)} if self._spec.dkim else {}),
            **({"dependencies": asked} if asked else {}),
            **({"suppression": suppression.volume(listed)} if listed else {}),
            # Not what they are: that is configuration. Stated first, relays must be of a template whose image knows of them.
            **({"submitters": True} if self._spec.submitters else {}),
            **({"submissionLimits": True} if submitters.limits(self._spec.submitters) else {}),
        }

    async def _state(self, child: Object) -> Object | None:
        return await self._unless_refused(state(self._context.kube, child, self._memory))

    async def _unless_refused(self, stating: Awaitable[T]) -> T | None:
        try:
            return await stating
        except (KubeInvalid, KubeForbidden, NotOursError) as error:
            self._outcome.refused.append(str(error))
            return None

    async def _mark(self, relay: Object, digest: str | None) -> None:
        """The order of scale-down, and the configuration that the relay should have (so that the kubelet looks at its mounts at once)."""
        place = relaywatch.place(self._context, relay, relaywatch.pool_name(self._pool))
        cost = deletion_cost(place.level)
        wanted: dict[str, str | None] = {DELETION_COST: None if cost is None else str(cost)}
        if digest:
            wanted[CONFIG_DIGEST] = digest
        if written := await pods.annotate(self._context.kube, relay, wanted):
            self._context.mirror.put("Pod", written)


def memory_key(namespace: str, name: str) -> tuple[str, str, str]:
    """Where a pool's part of the memory is."""
    return ("RelayPool", namespace, name)
