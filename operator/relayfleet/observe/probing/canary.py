"""A canary: a queue of one record that a prober publishes to, and nobody reads.

A quorum queue with a member on each broker, so that a confirm means what it means for mail: a majority has it on disk. It is led by the
broker that it is made on, it holds one record whatever is published, and the broker removes it when nobody has used it for `EXPIRES`. Publishing
is no use, nor is declaring a quorum queue anew, but taking a record out is: who probes does that with each new connection.

To make one is another matter than to use it. It changes what all brokers know, and while one of them stands still that may take many seconds,
which is no fault of the broker that is asked. So nothing is made, or bound, that is there.
"""

from __future__ import annotations

from typing import Any

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.protocol.brokerprobing import EXCHANGE

EXPIRES = 60.0
"""Seconds. Connections live for a twelfth of it."""


def arguments(replicas: int) -> dict[str, Any]:
    """Of a canary's queue."""
    return {
        "x-queue-type": "quorum",
        "x-quorum-initial-group-size": replicas,
        "x-queue-leader-locator": "client-local",
        "x-max-length": 1,
        "x-expires": int(EXPIRES * 1000),
    }


class Canary:
    """One on one connection, on its only channel. Every method raises AmqpError; the caller has the deadlines, `longest` is a limit."""

    def __init__(self, connection: Connection, name: str, replicas: int, longest: float) -> None:
        self._connection, self._name, self._replicas, self._longest = connection, name, replicas, longest
        self._channel: PublishChannel | None = None

    async def make(self) -> None:
        """Have a queue that the exchange knows."""
        channel = await self._open()
        await channel.declare(self._name, self._longest, arguments=arguments(self._replicas))
        await channel.bind(self._name, EXCHANGE, self._longest)
        await self.sit()

    async def sit(self) -> None:
        """Renew the lease. Raises NotFound when there is no such canary any more."""
        await (await self._open()).drop_one(self._name, self._longest)

    async def sing(self) -> None:
        """Have a record confirmed. Raises Returned when there is no such canary any more."""
        await (await self._open()).publish(self._name, b"", "canary").stored

    async def _open(self) -> PublishChannel:
        if self._channel is None:
            self._channel = await PublishChannel.open(self._connection, self._longest)
            self._channel.exchange = EXCHANGE
        return self._channel
