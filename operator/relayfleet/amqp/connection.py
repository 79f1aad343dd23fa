"""One connection to the broker: the socket, the handshake, heartbeats, back-pressure.

Everything that the channels write in one turn of the event loop leaves in one write: at thousands of messages a second the
system calls would otherwise cost more than the messages. When the socket's buffer is full, `writable` waits.

A connection lives once. When it is lost, for whatever reason, all its channels are lost with the same error, and `lost` says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from relayfleet.amqp import frames, methods
from relayfleet.amqp.errors import AmqpError, ConnectionLost, DeadlineExceeded, MalformedFrame

if TYPE_CHECKING:
    from relayfleet.amqp.channel import Channel

FRAME_MAX = 128 * 1024
CHANNEL_MAX = 64
MOST_REPLIES = 8
"""Answers about the connection itself that nobody has waited for yet; a broker of sound mind sends one at a time."""
WRITE_BUFFER = 1024 * 1024
"""Bytes on their way to the socket before `writable` waits."""

_M = TypeVar("_M", bound=methods.Method)
_CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class Connection(asyncio.Protocol):
    """Made by `dial.connect`; open when that returns. `allowance`: the bytes that the peer may still send, for owners who expect few of a peer
    that they do not trust and grant more as time goes by; None is no limit."""

    def __init__(self, allowance: int | None = None) -> None:
        self.allowance = allowance
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._splitter = frames.Splitter(FRAME_MAX)
        self._channels: dict[int, Channel] = {}
        self._replies: asyncio.Queue[methods.Method] = asyncio.Queue()
        self._out: list[bytes] = []
        self._writable = asyncio.Event()
        self._writable.set()
        self._beat: asyncio.TimerHandle | None = None
        self._heartbeat = 0.0
        self._wrote_since_beat = False
        self._reading = True
        self.last_received = time.monotonic()
        self.frame_max = FRAME_MAX
        self.blocked = ""
        self.peer = ""
        self.lost: asyncio.Future[AmqpError] = self._loop.create_future()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lose(
            ConnectionLost(f"the broker's connection broke: {exc}" if exc else "the broker closed the connection")
        )

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self.last_received = time.monotonic()
        if self.allowance is not None and not self._allowed(len(data)):
            return
        try:
            for each in self._splitter.feed(data):
                self._frame(each)
        except MalformedFrame as error:
            self.lose(error)

    # What channels and owners call.

    @property
    def is_open(self) -> bool:
        """False from the moment it is lost."""
        return not self.lost.done()

    def write(self, pieces: Sequence[bytes]) -> None:
        """Send pieces of bytes with whatever else this turn of the loop sends."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.extend(pieces)

    async def writable(self, timeout: float) -> None:
        """Return when the socket takes more. Raises DeadlineExceeded or ConnectionLost."""
        if self._writable.is_set() and self.is_open:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._writable.wait()
        except TimeoutError as error:
            raise DeadlineExceeded(f"the broker reads nothing since {timeout:g} s{self._why_blocked()}") from error
        if not self.is_open:
            raise self.lost.result()

    @property
    def is_reading(self) -> bool:
        """False after `pause_reading`."""
        return self._reading

    def pause_reading(self) -> None:
        """Leave what the broker sends in the socket: back-pressure on deliveries."""
        if self._reading and self._transport is not None and self.is_open:
            self._transport.pause_reading()
            self._reading = False

    def resume_reading(self) -> None:
        """The end of `pause_reading`."""
        if not self._reading and self._transport is not None and self.is_open:
            self._transport.resume_reading()
            self._reading = True
            self.last_received = time.monotonic()

    def attach(self, channel: Channel) -> int:
        """Give a new channel its number. Raises AmqpError when the broker has not closed so many of the old ones."""
        number = next((each for each in range(1, CHANNEL_MAX + 1) if each not in self._channels), None)
        if number is None:
            raise AmqpError(f"all {CHANNEL_MAX} channels of the connection are taken")
        self._channels[number] = channel
        return number

    def detach(self, number: int) -> None:
        """The channel is closed on both sides; its number is free."""
        self._channels.pop(number, None)

    async def close(self, timeout: float = 2.0) -> None:
        """Say goodbye and close; after `timeout` seconds without an answer close all the same."""
        if not self.is_open:
            return
        self.write([frames.frame(frames.METHOD, 0, methods.connection_close(200, "closed by the client"))])
        self.resume_reading()
        try:
            await asyncio.wait([self.lost], timeout=timeout)
        finally:  # who is cancelled here leaves no socket behind either
            self.lose(ConnectionLost("closed by this side"))

    def lose(self, error: AmqpError) -> None:
        """Drop the connection for this reason, at once; all channels learn it."""
        if not self.is_open:
            return
        self.lost.set_result(error)
        if self._beat:
            self._beat.cancel()
        self._writable.set()
        if self._transport is not None:
            self._transport.abort()
        for each in tuple(self._channels.values()):
            each.lose(error)
        self._channels.clear()

    async def greet(self) -> methods.Start:
        """The first word of each side and no more: who answers speaks AMQP 0-9-1. Nobody has logged in then. The caller has the deadline."""
        self.write([frames.PROTOCOL_HEADER])
        return await self._expect(methods.Start)

    async def handshake(self, username: str, password: str, vhost: str, heartbeat: int, name: str) -> None:
        """Log in and open the virtual host. Raises what ended the connection; the caller has the deadline."""
        properties = {"product": "relayfleet", "connection_name": name, "capabilities": _CAPABILITIES}
        await self.greet()
        self._send(methods.start_ok(properties, username, password))
        theirs = await self._expect(methods.Tune)
        tune = methods.Tune(
            min(filter(None, (theirs.channel_max, CHANNEL_MAX))),
            min(filter(None, (theirs.frame_max, FRAME_MAX))),
            min(theirs.heartbeat, heartbeat) or heartbeat,
        )
        self.frame_max = self._splitter.frame_max = tune.frame_max
        self._send(methods.tune_ok(tune))
        self._send(methods.open_vhost(vhost))
        await self._expect(methods.Reply)
        self._heartbeat = float(tune.heartbeat)
        self._tick()

    # Inside.

    def _send(self, payload: bytes) -> None:
        self.write([frames.frame(frames.METHOD, 0, payload)])

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        if self._transport is not None and self.is_open:
            self._wrote_since_beat = True
            self._transport.write(data)

    async def _expect(self, kind: type[_M]) -> _M:
        reply = asyncio.ensure_future(self._replies.get())
        either: list[asyncio.Future[Any]] = [reply, self.lost]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            method = reply.result() if reply.done() else None
        finally:
            reply.cancel()
        if method is None:
            raise self.lost.result()
        if not isinstance(method, kind):
            raise MalformedFrame(f"the broker sent {method} where {kind.__name__} was due")
        return method

    def _frame(self, each: frames.Frame) -> None:
        if each.type == frames.HEARTBEAT or not self.is_open:
            return
        if each.channel == 0:
            self._own_method(methods.parse(each.payload)[1])
            return
        channel = self._channels.get(each.channel)
        if channel is None:
            raise MalformedFrame(f"a frame on channel {each.channel}, which is not open")
        channel.frame(each)

    def _own_method(self, method: methods.Method) -> None:
        match method:
            case methods.Close(code, text):
                self._send(methods.CONNECTION_CLOSE_OK)
                self._flush()
                self.lose(ConnectionLost(f"the broker closed the connection: {code} {text}"))
            case methods.Blocked(reason):
                self.blocked = reason or "no reason given"
            case methods.Reply("connection.unblocked"):
                self.blocked = ""
            case methods.Reply("connection.close-ok"):
                self.lose(ConnectionLost("closed by this side"))
            case _ if self._replies.qsize() >= MOST_REPLIES:
                raise MalformedFrame(f"{method} and many before it, where nothing was asked")
            case _:
                self._replies.put_nowait(method)

    def _allowed(self, size: int) -> bool:
        self.allowance = (self.allowance or 0) - size
        if self.allowance < 0:
            self.lose(MalformedFrame("the peer sends far more than was asked for"))
        return self.allowance >= 0

    def _tick(self) -> None:
        """Twice an interval: send a heartbeat if nothing else was sent, and see that the broker sends something."""
        silence = time.monotonic() - self.last_received
        if self._reading and silence > 2 * self._heartbeat:
            self.lose(ConnectionLost(f"nothing heard from the broker for {silence:.1f} s"))
            return
        if not self._wrote_since_beat:
            self.write([frames.HEARTBEAT_FRAME])
        self._wrote_since_beat = False
        self._beat = self._loop.call_later(self._heartbeat / 2, self._tick)

    def _why_blocked(self) -> str:
        return f": {self.blocked}" if self.blocked else ""
