"""One relay of the pool at a time reads queues that expire at their head: two would give records back out of order.

Which one is decided by a name at the broker that one connection at a time can have (an exclusive queue). When a relay dies the broker gives the name to the next
that asks.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

from relayfleet.amqp.channel import Channel
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.errors import ConnectionLost, Locked, Unreachable
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.requeue.visit import DEADLINE


class OneReader(ABC):
    """`name`: what is taken at the broker; `purpose`: what the broker's operators see."""

    def __init__(self, target: Target, name: str, purpose: str) -> None:
        self._target, self._name, self._purpose = target, name, purpose
        self._lock: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = 0

    def start(self) -> None:
        """Begin in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._purpose)

    async def stop(self) -> None:
        """End it; what is in hand goes back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    @abstractmethod
    async def _run(self) -> None:
        """Work until it is cancelled, and let the name go then."""

    @property
    def _is_ours(self) -> bool:
        """The name is."""
        return self._lock is not None and self._lock.is_open

    async def _has_the_name(self) -> bool:
        if self._is_ours:
            return True
        connection = await self._dial(0, self._purpose)
        try:
            channel = await Channel.open(connection, DEADLINE)
            await channel.reserve(self._name, DEADLINE)
        except Locked:
            await connection.close()
            return False
        except BaseException:
            connection.lose(ConnectionLost("not used"))
            raise
        self._lock = connection
        return True

    async def _let_go(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            await lock.close()

    async def _dial(self, number: int, purpose: str) -> Connection:
        """To the node whose turn it is, or the next one that can be reached: four queues are read over all nodes, of which one may be away for hours."""
        last = self._turn + number + len(self._target.broker.addresses) - 1
        for turn in range(self._turn + number, last):
            with suppress(Unreachable):
                return await self._target.dial(self._target.address(turn), purpose)
        return await self._target.dial(self._target.address(last), purpose)
