"""The Secrets of a managed queue: read by name, made once, restored, rotated."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from dataclasses import dataclass

from relayfleet.act import authority
from relayfleet.act.broker import generate
from relayfleet.api.labels import QUEUE
from relayfleet.children.rabbitmq import names
from relayfleet.children.rabbitmq.secrets import secret, texts
from relayfleet.controllers.context import Context
from relayfleet.controllers.queuememory import QueueMemory
from relayfleet.decide.queue import credentials
from relayfleet.decide.queue.credentials import Step
from relayfleet.decide.queue.renewal import needs_renewal
from relayfleet.kube.client import Object

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """The admin Secret's and the relays' credentials as they stand; or `lost`, the message for the person who has to act."""

    admin: dict[str, str]
    client: dict[str, str]
    lost: str = ""

    @property
    def usable(self) -> bool:
        """Whether brokers can be asked with them."""
        return bool(self.admin and self.client)


class Secrets:
    """The Secrets of one queue."""

    def __init__(self, context: Context, queue: Object, memory: QueueMemory) -> None:
        self._kube = context.kube
        self._queue = queue
        self._memory = memory

    async def bring(self, made_before: bool) -> Held:
        """See that all are there and right. `made_before`: a StatefulSet or volumes exist. Raises KubeError."""
        admin, tls, client = await asyncio.gather(
            self._read(names.admin_secret(self._queue)),
            self._read(names.tls_secret(self._queue)),
            self._read(names.client_secret(self._queue)),
        )
        if self._memory.admin is None:
            await self._recall(admin)
        decision = credentials.admin(admin, self._memory.admin, made_before)
        if decision.step is Step.LOST:
            label = f"{QUEUE}={self._queue['metadata']['name']}"
            secret_name, stateful_set = names.admin_secret(self._queue), names.base(self._queue)
            return Held({}, {}, credentials.lost(secret_name, decision.missing, stateful_set, label))
        held = await self._admin(decision)
        self._memory.admin = held
        copy = secret(self._queue, names.admin_secret_copy(self._queue), held)
        if self._memory.admin_copy != held and await self._memory.copies.keep(self._kube, copy, time.monotonic()):
            self._memory.admin_copy = held
        await self._tls(held, tls)
        return Held(held, await self._client(held, client))

    async def look(self) -> Held:
        """As they stand, without changing any; for a queue that is paused or gone."""
        admin, client = await asyncio.gather(
            self._read(names.admin_secret(self._queue)), self._read(names.client_secret(self._queue))
        )
        return Held(admin or {}, client or {})

    async def _recall(self, found: dict[str, str] | None) -> None:
        """Read what the copy holds, at a leader's first look. Where the Secret itself is not whole the copy is what is remembered."""
        self._memory.admin_copy = copy = await self._read(names.admin_secret_copy(self._queue))
        if credentials.lacking(found) and not credentials.lacking(copy):
            self._memory.admin = copy

    async def _admin(self, decision: credentials.Admin) -> dict[str, str]:
        name = names.admin_secret(self._queue)
        if decision.step is Step.GENERATE:
            data = generate.admin(names.base(self._queue), names.ADMIN_USER, _now())
            await self._kube.create(secret(self._queue, name, data))  # never over one that exists
            log.info("Secret %s/%s made", self._namespace, name)
            return data
        data = dict(decision.data or {})
        if decision.step is Step.RESTORE:
            await self._kube.apply(secret(self._queue, name, data))
            log.warning("Secret %s/%s was deleted or changed, and is restored", self._namespace, name)
        return data

    async def _tls(self, admin: dict[str, str], found: dict[str, str] | None) -> None:
        certificate, key = (found or {}).get("tls.crt", ""), (found or {}).get("tls.key", "")
        hosts = names.certificate_hosts(self._queue)
        why = needs_renewal(authority.read(certificate, key, admin["ca.crt"]), hosts, _now())
        if not why and (found or {}).get("ca.crt") == admin["ca.crt"]:
            return
        base = names.base(self._queue)
        certificate, key = authority.new_certificate(admin["ca.crt"], admin["ca.key"], base, hosts, _now())
        data = {"ca.crt": admin["ca.crt"], "tls.crt": certificate, "tls.key": key}
        await self._kube.apply(secret(self._queue, names.tls_secret(self._queue), data))
        log.info("brokers of %s/%s get a new certificate: %s", self._namespace, base, why or "the CA was missing")

    async def _client(self, admin: dict[str, str], found: dict[str, str] | None) -> dict[str, str]:
        data = credentials.client(found, names.CLIENT_USER, generate.password(), admin["ca.crt"])
        if found is None or any(found.get(key) != data[key] for key in data):
            await self._kube.apply(secret(self._queue, names.client_secret(self._queue), data))
            log.info("Secret %s/%s written", self._namespace, names.client_secret(self._queue))
        return data

    async def _read(self, name: str) -> dict[str, str] | None:
        return texts(await self._kube.get("Secret", self._namespace, name))

    @property
    def _namespace(self) -> str:
        namespace: str = self._queue["metadata"]["namespace"]
        return namespace


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
