"""A canary: a queue of one record that a prober publishes to, and nobody reads.

A quorum queue with a member on each broker, so that a confirm means what it means for mail: a majority has it on disk. It is led by the
broker that it is made on, it holds one record whatever is published, and the broker removes it when nobody has declared it anew for
`EXPIRES`: who probes does that with each new connection.

A prober has two names for each broker. After a trouble it takes the other one: the old canary may be led by another broker by now, and would
blame this one for what happens there.
"""

from __future__ import annotations

from typing import Any

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.errors import Returned
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
    """One on one connection; made by `sit`. Every method raises AmqpError."""

    def __init__(self, channel: PublishChannel, name: str, replicas: int, timeout: float) -> None:
        self._channel, self._name, self._replicas, self._timeout = channel, name, replicas, timeout

    @classmethod
    async def sit(cls, connection: Connection, name: str, replicas: int, timeout: float) -> Canary:
        """See that there is one, on the connection's only channel; each question gets `timeout` seconds."""
        channel = await PublishChannel.open(connection, timeout)
        channel.exchange = EXCHANGE
        canary = cls(channel, name, replicas, timeout)
        await canary.declare()
        return canary

    async def declare(self) -> None:
        """Make it, or renew the lease of the one that is there."""
        await self._channel.declare(self._name, self._timeout, arguments=arguments(self._replicas))
        await self._channel.bind(self._name, EXCHANGE, self._timeout)

    async def sing(self) -> None:
        """Have a record confirmed; the caller has the deadline. One that the broker has removed is made again: nothing is wrong then."""
        try:
            await self._channel.publish(self._name, b"", "canary").stored
        except Returned:
            await self.declare()
            await self._channel.publish(self._name, b"", "canary").stored
