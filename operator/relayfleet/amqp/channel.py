"""A channel: questions and answers to the broker, in order. Publishing and consuming channels build on it.

An error of ours (a missing queue, other arguments) makes the broker close the channel: it is lost then with the broker's words,
and whoever waits on it gets them. A question without an answer in time closes the channel too, since nobody knows any more which
answer belongs to which question; its number stays taken until the broker has closed its side.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from relayfleet.amqp import methods
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.content import Joiner
from relayfleet.amqp.errors import AmqpError, DeadlineExceeded, MalformedFrame, channel_lost
from relayfleet.amqp.frames import BODY, HEADER, METHOD, Frame, frame

MESSAGE_MAX = 128 * 1024**2
"""Bytes of the largest message that we take from a broker."""

_M = TypeVar("_M", bound=methods.Method)


class Channel:
    """Open after `await Channel.open(connection)`. Every method raises AmqpError, and DeadlineExceeded after `timeout` seconds."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lost: asyncio.Future[AmqpError] = asyncio.get_running_loop().create_future()
        self._number = connection.attach(self)
        self._waiting: deque[asyncio.Future[methods.Method]] = deque()
        self._joiner = Joiner(MESSAGE_MAX)
        self._content: methods.Method | None = None

    @classmethod
    async def open(cls, connection: Connection, timeout: float) -> Self:
        """A new channel of the connection."""
        if not connection.is_open:
            raise connection.lost.result()
        channel = cls(connection)
        await channel.ask(methods.CHANNEL_OPEN, methods.Reply, timeout)
        return channel

    @property
    def is_open(self) -> bool:
        """False from the moment it is lost."""
        return not self.lost.done()

    @property
    def error(self) -> AmqpError | None:
        """What the channel was lost for."""
        return self.lost.result() if self.lost.done() else None

    async def declare(
        self, queue: str, timeout: float, *, passive: bool = False, arguments: Mapping[str, Any] | None = None
    ) -> methods.DeclareOk:
        """Make a durable queue, or with `passive` look at one. Raises NotFound, PreconditionFailed; the channel is lost then."""
        payload = methods.queue_declare(queue, passive=passive, durable=True, arguments=arguments or {})
        return await self.ask(payload, methods.DeclareOk, timeout)

    async def reserve(self, name: str, timeout: float) -> None:
        """Make a queue that is this connection's alone and goes with it: whoever has it has the name. Raises Locked while another has it."""
        payload = methods.queue_declare(
            name, passive=False, durable=False, exclusive=True, arguments={"x-queue-type": "classic"}
        )
        await self.ask(payload, methods.DeclareOk, timeout)

    async def bind(self, queue: str, exchange: str, timeout: float) -> None:
        """Have the exchange put into the queue what is published under the queue's name."""
        await self.ask(methods.queue_bind(queue, exchange, queue), methods.Reply, timeout)

    async def delete(self, queue: str, timeout: float) -> None:
        """Delete a queue with all that is in it."""
        await self.ask(methods.queue_delete(queue), methods.Reply, timeout)

    async def drop_one(self, queue: str, timeout: float) -> bool:
        """Take one record out of a queue and forget it; False when there was none. The broker counts this as a use of the queue."""
        return not (await self.ask(methods.get(queue), methods.Got, timeout)).empty

    async def close(self, timeout: float) -> None:
        """Close the channel; what is unacknowledged goes back to its queue."""
        if self.is_open:
            await self.ask(methods.channel_close(200, "done"), methods.Reply, timeout)

    async def ask(self, payload: bytes, answer: type[_M], timeout: float) -> _M:
        """Send a method and wait for its answer."""
        return await self.answer(self.request(payload), answer, timeout)

    def request(self, payload: bytes) -> asyncio.Future[methods.Method]:
        """Send a method now; `answer` waits for what the broker says to it. Raises what the channel was lost for."""
        if self.error is not None:
            raise self.error
        request: asyncio.Future[methods.Method] = asyncio.get_running_loop().create_future()
        self._waiting.append(request)
        self.send(payload)
        return request

    async def answer(self, request: asyncio.Future[methods.Method], answer: type[_M], timeout: float) -> _M:
        """Wait for the answer to a `request`."""
        try:
            async with asyncio.timeout(timeout):
                method = await request
        except TimeoutError as timed_out:
            late = DeadlineExceeded(f"no answer from the broker within {timeout:g} s")
            self._give_up(late)
            raise late from timed_out
        if not isinstance(method, answer):
            error = MalformedFrame(f"the broker answered {method} where {answer.__name__} was due")
            self.connection.lose(error)
            raise error
        return method

    def send(self, payload: bytes) -> None:
        """Send a method that has no answer."""
        self.connection.write((frame(METHOD, self._number, payload),))

    def lose(self, error: AmqpError) -> None:
        """The channel is gone, for this reason; everybody who waits gets it."""
        if not self.is_open:
            return
        self.lost.set_result(error)
        for each in self._waiting:
            if not each.done():
                each.set_exception(error)
                each.exception()
        self._waiting.clear()

    def frame(self, each: Frame) -> None:
        """One frame of this channel from the broker."""
        if each.type == METHOD:
            self._method(methods.parse(each.payload)[1])
            return
        if each.type not in (HEADER, BODY) or self._content is None:
            raise MalformedFrame(f"a frame of type {each.type} where a method was due")
        take = self._joiner.header if each.type == HEADER else self._joiner.body
        if (message := take(each.payload)) is not None:
            method, self._content = self._content, None
            if not isinstance(method, methods.Got):
                self.on_message(method, *message)

    def on_confirm(self, method: methods.Ack | methods.Nack) -> None:
        """A publish was stored or not."""
        raise MalformedFrame(f"{method} on a channel without confirms")

    def on_message(self, method: methods.Method, header: bytes, body: bytes) -> None:
        """A message came, delivered or returned."""
        raise MalformedFrame(f"{method} on a channel that neither publishes nor consumes")

    def on_cancelled(self, consumer: str) -> None:
        """The broker ended the consumer of that tag."""
        raise MalformedFrame("basic.cancel on a channel that does not consume")

    def _method(self, method: methods.Method) -> None:
        match method:
            case methods.Ack() | methods.Nack():
                if self.is_open:
                    self.on_confirm(method)
            case methods.Deliver() | methods.Return():
                self._content = method
            case methods.Got(empty):
                self._content = None if empty else method
                self._answer(method)
            case methods.Close(code, text):
                self.send(methods.CHANNEL_CLOSE_OK)
                self.connection.detach(self._number)
                self.lose(channel_lost(code, text))
            case methods.Cancelled(consumer):
                if self.is_open:
                    self.on_cancelled(consumer)
            case methods.Reply("channel.close-ok"):
                self.connection.detach(self._number)
                self._answer(method)
                self.lose(AmqpError("the channel was closed by this side"))
            case _:
                self._answer(method)

    def _answer(self, method: methods.Method) -> None:
        if self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(method)
        elif self.is_open:
            raise MalformedFrame(f"{method} answers nothing that was asked")

    def _give_up(self, error: AmqpError) -> None:
        if self.is_open:
            self.lose(error)
            self.send(methods.channel_close(200, "no answer in time"))
