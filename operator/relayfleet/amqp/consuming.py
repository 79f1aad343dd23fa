"""Consuming: deliveries come until the prefetch is full, and are acknowledged in bundles.

A channel has any number of consumers, each with its own queue, prefetch and end. AMQP fixes a consumer's prefetch when it begins: for another
one the owner cancels it and consumes again, under a new tag. (The same tag soon after a cancel crashed channels of RabbitMQ until late in 2022:
rabbitmq-server #5927, #5944.) Deliveries that come between a cancel and its answer are under way at the broker; they stay the owner's, to be
settled as all others.

What is settled in one turn of the event loop leaves as few acknowledgements (see `acks`). The broker has no answer to them: a
delivery whose acknowledgement was under way when the connection broke comes again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from relayfleet.amqp import methods
from relayfleet.amqp.acks import Acks
from relayfleet.amqp.channel import Channel
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.content import properties
from relayfleet.amqp.errors import AmqpError, ChannelLost, MalformedFrame

REMEMBERED = 64
"""Consumers that have ended and whose late deliveries still find their owner; no broker needs many of them."""


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


@dataclass(eq=False, slots=True)
class Consumer:
    """One consumer of a channel, from `consume` to its end. Its first deliveries, and its end by the broker, may be heard of before `consume`
    returns it: `error` says whether it is still one."""

    channel: ConsumeChannel
    queue: str
    tag: str
    deliver: Callable[[Delivery], None]
    ended: Callable[[AmqpError], None] | None
    _request: asyncio.Future[methods.Method] | None = None
    _error: AmqpError | None = None

    @property
    def error(self) -> AmqpError | None:
        """Why the broker ended it or what the channel was lost for; None as long as neither is so."""
        return self._error or self.channel.error

    async def cancel(self, timeout: float) -> None:
        """End it: no more deliveries after this returns; those that came can still be acknowledged. Raises AmqpError: the channel is lost."""
        if self._error is None:
            # The answer is for all who ask, and one of them may leave.
            await self.channel.answer(asyncio.shield(self.begin_to_end()), methods.Reply, timeout)

    def begin_to_end(self) -> asyncio.Future[methods.Method]:
        """Tell the broker, once, that it shall end; done when the broker has answered. Raises AmqpError: the channel is lost."""
        if self._request is None:
            self._request = self.channel.request(methods.cancel(self.tag))
            self._request.add_done_callback(lambda _: self.channel.retire(self))
        return self._request

    def end(self, error: AmqpError) -> None:
        """The broker ended it."""
        if self._error is None:
            self._error = error
            self.channel.retire(self)
            if self.ended is not None:
                self.ended(error)


class ConsumeChannel(Channel):
    """A channel that consumes."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._acks = Acks()
        self._flushing = False
        self._begun = 0
        self._consumers: dict[str, Consumer] = {}
        self._retired: deque[str] = deque()

    @property
    def unacknowledged(self) -> int:
        """Deliveries that the broker counts as ours, of all consumers."""
        return len(self._acks)

    async def consume(
        self,
        queue: str,
        prefetch: int,
        deliver: Callable[[Delivery], None],
        timeout: float,
        arguments: Mapping[str, Any] | None = None,
        ended: Callable[[AmqpError], None] | None = None,
        tag: str = "",
    ) -> Consumer:
        """Begin: `deliver` is called for every message, with at most `prefetch` of this consumer's unacknowledged.

        `ended` hears, once, that the broker ended this consumer; the others of the channel go on. Without it the channel is lost then. A queue
        that is not there when this begins costs the channel in any case (NotFound): the broker closes it. Who begins again under the `tag` of
        one that has ended is to a quorum queue the same consumer: what it holds still counts against its prefetch. "": a tag of its own.
        """
        self._begun += 1
        consumer = Consumer(self, queue, tag or f"relay/{self._begun}", deliver, ended)
        if consumer.tag in self._retired:
            self._retired.remove(consumer.tag)
        # In one go, since a prefetch is for the consumers that begin after it: two who begin at a time must not get each other's.
        requests = (
            self.request(methods.qos(prefetch)),
            self.request(methods.consume(queue, consumer.tag, arguments or {})),
        )
        self._consumers[consumer.tag] = consumer
        try:
            for each in requests:
                await self.answer(each, methods.Reply, timeout)
        except asyncio.CancelledError:
            if self.is_open:
                consumer.begin_to_end()  # nobody has it, and it would keep its prefetch from all others
            raise
        return consumer

    async def cancel(self, timeout: float) -> None:
        """End all consumers: no more deliveries after this returns; those that came can still be acknowledged."""
        if self.error is not None:
            raise self.error
        await asyncio.gather(*(each.cancel(timeout) for each in tuple(self._consumers.values())))

    def retire(self, consumer: Consumer) -> None:
        """It has ended. What comes for it all the same is its owner's still; only the last few that ended are kept for that."""
        if consumer.tag in self._retired:
            return
        self._retired.append(consumer.tag)
        if len(self._retired) > REMEMBERED:
            del self._consumers[self._retired.popleft()]

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
            consumer = self._known(method.consumer)
            self._acks.delivered(method.tag)
            consumer.deliver(Delivery(method.tag, method.redelivered, header, body))

    def on_cancelled(self, consumer: str) -> None:
        known = self._known(consumer)
        error = ChannelLost(404, f"the broker ended the consumer: {known.queue} was deleted or lost its majority")
        if known.ended is None:
            self.lose(error)
        else:
            known.end(error)

    def _known(self, tag: str) -> Consumer:
        if (found := self._consumers.get(tag)) is None:
            raise MalformedFrame(f"consumer {tag!r} is none of this channel's")
        return found

    def _flush(self) -> None:
        self._flushing = False
        if self.is_open:
            for tag, multiple in self._acks.flush():
                self.send(methods.ack(tag, multiple))
