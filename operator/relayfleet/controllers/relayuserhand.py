"""The operator's hand at the brokers of a queue, as far as relays' users go: making one, taking one away, and the fence.

The order of a fence: the user goes first, so that the relay cannot come back, then its connections, and once more a moment later. Channels end,
and records go to others, before the client is even told; that it never answers holds nothing up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from relayfleet.act.broker.management import EVERYTHING, Endpoint, Management, password_fits
from relayfleet.api.labels import POOL
from relayfleet.children.rabbitmq import names
from relayfleet.controllers import relaywatch
from relayfleet.controllers.context import Context
from relayfleet.controllers.evidence import PoolName
from relayfleet.decide.pool.fencing import Access
from relayfleet.kube.client import Object, Objects
from relayfleet.protocol import brokeruser

ANSWER = 2.0
"""Seconds for one broker's answer before the next one is asked."""

MOMENT = 0.3
"""Seconds in which a connection that was accepted is counted by its broker, and in which one that is open is closed."""

PATIENCE = 1.5
"""Seconds for closing connections; less than ANSWER, since another broker would do it no sooner."""

AT_ONCE = 8
"""Users that are made at the same time."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach a queue's management interface. `serving`: a broker is ready and the Secrets are there, so that it should answer. `seed` is
    what the relays' passwords are made of."""

    serving: bool
    endpoints: tuple[Endpoint, ...]
    admin: Mapping[str, str]
    seed: str

    def management(self, deadline: float = ANSWER) -> Management:
        """A client. `deadline`: seconds that one broker has for an answer."""
        return Management(
            self.endpoints, self.admin["username"], self.admin["password"], self.admin["ca.crt"], deadline
        )


@dataclass(slots=True)
class Memory:
    """Of one queue; may be lost at any time. `read_at`: when the way was. `wanted` is what the brokers were last brought to, `brought_at` when. `cut`: fenced relays whose
    user is gone, and whose connections were closed. `news`: what is to be told, by pod."""

    way: Way | None = None
    read_at: float = float("-inf")
    wanted: dict[str, Access] = field(default_factory=dict)
    brought_at: float = float("-inf")
    cut: set[str] = field(default_factory=set)
    news: list[tuple[Object, bool]] = field(default_factory=list)


class Hand:
    """What is done at the brokers of one queue. Each step asks first whether this is still the leader. Errors are those of `act.broker.errors`."""

    def __init__(self, context: Context, management: Management, seed: str, memory: Memory) -> None:
        self._context = context
        self._management = management
        self._seed = seed
        self.memory = memory

    async def fence(self, pod: Object) -> None:
        """Take the user away, and close its connections: at once, and a moment later those that were just being opened."""
        relay = name_of(pod)
        if await self.remove(relay):
            reason = relaywatch.place(self._context, pod, pool_of(pod)).reason
            self._context.fences.counts.fences[(*pool_of(pod), reason)] += 1
            self.memory.news.append((pod, True))
        if await self._closed(relay, PATIENCE):
            self.memory.cut.add(relay)
        await asyncio.sleep(MOMENT)
        await self._closed(relay, MOMENT)

    async def _closed(self, relay: str, patience: float) -> bool:
        """Close a relay's connections; False when it takes long. One that its client has not read from for long has 3 s to end each channel,
        and every one whose client does not answer 5 s to end TLS; the brokers go on with that by themselves."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._management.close_connections(brokeruser.username(relay))
                return True
        return False

    async def remove(self, relay: str) -> bool:
        """Take a user away; False when there was none."""
        self._context.permit()
        return await self._management.delete_user(brokeruser.username(relay))

    async def users(self) -> dict[str, bool]:
        """Of which relays there are users, and whether password and permissions are right."""
        users, rights = await asyncio.gather(self._management.users(), self._management.permissions(names.VHOST))
        own = {relay: user for user in users if (relay := brokeruser.relay_of(user)) is not None}
        return {
            relay: password_fits(brokeruser.password(relay, self._seed), users[user]) and rights.get(user) == EVERYTHING
            for relay, user in own.items()
        }

    async def grant(self, pods: Objects) -> None:
        """Make users, some at a time."""
        places = asyncio.Semaphore(AT_ONCE)

        async def one(pod: Object) -> None:
            relay = name_of(pod)
            async with places:
                self._context.permit()
                await self._management.put_user(
                    brokeruser.username(relay), brokeruser.password(relay, self._seed), names.VHOST
                )
            if relay in self.memory.cut:
                self._context.fences.counts.returns[pool_of(pod)] += 1
                self.memory.news.append((pod, False))

        await asyncio.gather(*(one(pod) for pod in pods))


def name_of(pod: Object) -> str:
    """The relay's name."""
    name: str = pod["metadata"]["name"]
    return name


def pool_of(pod: Object) -> PoolName:
    """The relay's pool."""
    return pod["metadata"]["namespace"], pod["metadata"]["labels"][POOL]
