"""Consuming: deliveries come until the prefetch is full, and are acknowledged in bundles.

What is settled in one turn of the event loop leaves as few acknowledgements (see `acks`). The broker has no answer to them: a
delivery whose acknowledgement was under way when the connection broke comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from relayfleet.amqp import methods
from relayfleet.amqp.acks import Acks
from relayfleet.amqp.channel import Channel
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.content import properties
from relayfleet.amqp.errors import ChannelLost, MalformedFrame

_TAG = "relay"


class Delivery(NamedTuple):
    """A message that the broker gave us to work on."""

    tag: int
    redelivered: bool
    header: bytes
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        """The headers that the broker and the publisher wrote, among them `x-delivery-count` and `x-death`."""
        found: dict[str, Any] = properties(self.header).get("headers", {})
        return found

    @property
    def message_id(self) -> str:
        """What the publisher called the message, or ""."""
        return str(properties(self.header).get("message_id", ""))


class ConsumeChannel(Channel):
    """A channel with at most one consumer."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._acks = Acks()
        self._flushing = False
        self._deliver: Callable[[Delivery], None] = _nobody

    @property
    def unacknowledged(self) -> int:
        """Deliveries that the broker counts as ours."""
        return len(self._acks)

    async def consume(
        self,
        queue: str,
        prefetch: int,
        deliver: Callable[[Delivery], None],
        timeout: float,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Start: `deliver` is called for every message, with at most `prefetch` of them unacknowledged."""
        self._deliver = deliver
        await self.ask(methods.qos(prefetch), methods.Reply, timeout)
        await self.ask(methods.consume(queue, _TAG, arguments or {}), methods.Reply, timeout)

    async def cancel(self, timeout: float) -> None:
        """Stop: no more deliveries after this returns; those that came can still be acknowledged."""
        await self.ask(methods.cancel(_TAG), methods.Reply, timeout)

    def ack(self, tag: int) -> None:
        """Done with a delivery. Raises what the channel was lost for: then others have it."""
        if self.error is not None:
            raise self.error
        self._acks.settle(tag)
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def nack(self, tag: int) -> None:
        """Hand a delivery back to its queue."""
        if self.is_open and self._acks.hand_back(tag):
            self.send(methods.nack(tag, multiple=False))

    def on_message(self, method: methods.Method, header: bytes, body: bytes) -> None:
        if not isinstance(method, methods.Deliver):
            raise MalformedFrame(f"{method} on a channel that does not publish")
        if self.is_open:
            self._acks.delivered(method.tag)
            self._deliver(Delivery(method.tag, method.redelivered, header, body))

    def on_cancelled(self) -> None:
        self.lose(ChannelLost(404, "the broker ended the consumer: the queue was deleted or lost its majority"))

    def _flush(self) -> None:
        self._flushing = False
        if self.is_open:
            for tag, multiple in self._acks.flush():
                self.send(methods.ack(tag, multiple))


def _nobody(delivery: Delivery) -> None:
    raise MalformedFrame("a delivery before anything was consumed")
