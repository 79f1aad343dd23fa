"""Publishing with confirms: a publish is done when the broker says that it is stored, not when it is sent.

Messages are persistent and mandatory: without `mandatory` the broker confirms a message that has no queue. The broker returns such a
message before it confirms it; the number of the publish travels as correlation id, so that a return finds its publish.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from relayfleet.amqp import methods
from relayfleet.amqp.channel import Channel
from relayfleet.amqp.confirms import Confirms
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.content import header_payload, properties
from relayfleet.amqp.errors import AmqpError, MalformedFrame, Nacked, Returned
from relayfleet.amqp.frames import HEADER, METHOD, body_frames, frame


@dataclass(slots=True)
class Flow:
    """What goes to one queue: publishes without an answer, and when that last moved on, by the monotonic clock."""

    open: int = 0
    moved_at: float = 0.0

    def stalled(self, now: float) -> float:
        """Seconds for which something is open and nothing was answered."""
        return now - self.moved_at if self.open else 0.0


@dataclass(eq=False, slots=True)
class Publish:
    """One publish: `stored` is done when the broker confirmed, or fails with NotStored, ChannelLost or ConnectionLost."""

    stored: asyncio.Future[None]
    size: int
    flow: Flow
    returned: Returned | None = None


class PublishChannel(Channel):
    """A channel in confirm mode. `exchange`: the one to publish to, the default one unless it is set before the first publish."""

    exchange = ""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._confirms: Confirms[Publish] = Confirms()
        self._methods: dict[str, bytes] = {}
        self._flows: dict[str, Flow] = {}
        self.unconfirmed_bytes = 0

    @classmethod
    async def open(cls, connection: Connection, timeout: float) -> PublishChannel:
        """A new channel, confirms on."""
        channel = await super().open(connection, timeout)
        await channel.ask(methods.CONFIRM_SELECT, methods.Reply, timeout)
        return channel

    @property
    def unconfirmed(self) -> int:
        """Publishes without an answer yet."""
        return len(self._confirms)

    def stalled(self) -> float:
        """Seconds for which a queue has answered nothing although it should.

        Not the age of the oldest publish: that grows under load as well, while a queue that is gone answers nothing at all.
        """
        now = time.monotonic()
        return max((each.stalled(now) for each in self._flows.values()), default=0.0)

    def publish(self, queue: str, body: bytes, message_id: str, expires: int | None = None) -> Publish:
        """Send a message to a queue, by the channel's exchange; `expires`: milliseconds. Raises what the channel was lost for.

        It does not wait: callers wait for `connection.writable` before, or bound what they send.
        """
        if self.error is not None:
            raise self.error
        number = self._number
        method = self._methods.get(queue)
        if method is None:
            method = self._methods[queue] = frame(METHOD, number, methods.publish(self.exchange, queue))
            self._flows[queue] = Flow()
        flow = self._flows[queue]
        if not flow.open:
            flow.moved_at = time.monotonic()
        flow.open += 1
        publish = Publish(asyncio.get_running_loop().create_future(), len(body), flow)
        tag = self._confirms.add(publish)
        self.unconfirmed_bytes += publish.size
        header = frame(HEADER, number, header_payload(len(body), message_id, str(tag), expires))
        self.connection.write((method, header, *body_frames(number, body, self.connection.frame_max)))
        return publish

    def on_confirm(self, method: methods.Ack | methods.Nack) -> None:
        for each in self._confirms.settle(method.tag, method.multiple):
            if isinstance(method, methods.Ack) and each.returned is None:
                self._done(each, None)
            else:
                self._done(each, each.returned or Nacked("the broker could not store the message"))

    def on_message(self, method: methods.Method, header: bytes, body: bytes) -> None:
        if not isinstance(method, methods.Return):
            raise MalformedFrame(f"{method} on a channel that does not consume")
        tag = str(properties(header).get("correlation_id", ""))
        publish = self._confirms.get(int(tag)) if tag.isascii() and tag.isdigit() else None
        if publish is not None:
            publish.returned = Returned(f"the broker returned the message: {method.code} {method.text}")

    def lose(self, error: AmqpError) -> None:
        super().lose(error)
        for each in self._confirms.drain():
            self._done(each, error)

    def _done(self, publish: Publish, error: AmqpError | None) -> None:
        self.unconfirmed_bytes -= publish.size
        publish.flow.open -= 1
        publish.flow.moved_at = time.monotonic()
        if publish.stored.done():
            return
        if error is None:
            publish.stored.set_result(None)
        else:
            publish.stored.set_exception(error)
            publish.stored.exception()  # a hedged publish may have nobody left who asks
