"""A broker over a real socket that knows what is needed to read waiting queues: consume, acknowledge, cancel, and a name for one connection.

As a quorum queue does, it sends as many as the prefetch allows, lets a consumer that begins again keep what it has, and puts what a connection leaves unacknowledged back to the head of its queue, in order. Records do not expire. `frozen` queues take
consumers and say nothing. A queue that is not in `queues` does not exist; one that is `unseen` is said not to, so many times more. The codec is not ours.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pamqp import base, body, commands, header
from pamqp import frame as codec

Message = tuple[str, bytes]


@dataclass
class WaitingBroker:
    """`queues`: (message id, body) from the head on, by name. `readers` counts how often a queue was consumed; `clients`: connections that are open."""

    queues: dict[str, list[Message]] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    unseen: dict[str, int] = field(default_factory=dict)
    readers: dict[str, int] = field(default_factory=dict)
    names: dict[str, _Client] = field(default_factory=dict)
    clients: set[_Client] = field(default_factory=set)
    address: str = ""

    def ids(self, queue: str) -> list[str]:
        """What is in a queue, from the head on."""
        return [name for name, _ in self.queues[queue]]

    @property
    def in_hand(self) -> int:
        """Records that clients have not acknowledged."""
        return sum(len(each.open) for each in self.clients)


class _Client:
    def __init__(self, broker: WaitingBroker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._broker, self._reader, self._writer = broker, reader, writer
        self.open: dict[int, tuple[str, Message]] = {}
        self._tags = itertools.count(1)
        self.consumes: dict[str, tuple[int, str, int]] = {}
        self._prefetch = 0
        self._closing: set[int] = set()
        self.gone = asyncio.Event()

    async def serve(self) -> None:
        self._broker.clients.add(self)
        try:
            await self._reader.readexactly(8)
            self._send(commands.Connection.Start(), 0)
            data = b""
            while received := await self._reader.read(65536):
                data += received
                while len(data) >= 7 and len(data) >= 8 + int.from_bytes(data[3:7], "big"):
                    size, channel, frame = codec.unmarshal(data)
                    data = data[size:]
                    self._hear(channel, frame)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._leave()

    def cut(self) -> None:
        """As a network does."""
        self._writer.transport.abort()

    def _leave(self) -> None:
        self._broker.clients.discard(self)
        for name, message in reversed(self.open.values()):
            self._broker.queues[name].insert(0, message)
        self.open.clear()
        self._broker.names = {name: each for name, each in self._broker.names.items() if each is not self}
        self._writer.close()
        self.gone.set()

    def _send(self, frame: base.Frame | header.ContentHeader | body.ContentBody, channel: int) -> None:
        self._writer.write(codec.marshal(frame, channel))

    def _hear(self, channel: int, frame: object) -> None:
        """What comes on a channel that was closed for an error is not answered."""
        if isinstance(frame, commands.Channel.CloseOk):
            self._closing.discard(channel)
        elif channel not in self._closing:
            self._answer(channel, frame)

    def _answer(self, channel: int, frame: object) -> None:
        match frame:
            case commands.Connection.StartOk():
                self._send(commands.Connection.Tune(100, 131072, 30), 0)
            case commands.Connection.Open():
                self._send(commands.Connection.OpenOk(), 0)
            case commands.Connection.Close():
                self._send(commands.Connection.CloseOk(), 0)
                self._leave()
            case commands.Channel.Open():
                self._send(commands.Channel.OpenOk(), channel)
            case commands.Channel.Close():
                self._send(commands.Channel.CloseOk(), channel)
            case commands.Queue.Declare():
                self._declare(channel, frame)
            case commands.Basic.Qos():
                self._prefetch = frame.prefetch_count
                self._send(commands.Basic.QosOk(), channel)
            case commands.Basic.Consume():
                self._send(commands.Basic.ConsumeOk(frame.consumer_tag), channel)
                self.consumes[frame.queue] = channel, frame.consumer_tag, self._prefetch
                self._broker.readers[frame.queue] = self._broker.readers.get(frame.queue, 0) + 1
                self._fill()
            case commands.Basic.Cancel():
                ended = channel, frame.consumer_tag
                self.consumes = {name: each for name, each in self.consumes.items() if each[:2] != ended}
                self._send(commands.Basic.CancelOk(frame.consumer_tag), channel)
            case commands.Basic.Ack():
                for tag in [
                    each
                    for each in self.open
                    if each == frame.delivery_tag or (frame.multiple and each < frame.delivery_tag)
                ]:
                    del self.open[tag]
                self._fill()

    def _declare(self, channel: int, frame: commands.Queue.Declare) -> None:
        broker, name = self._broker, frame.queue
        if not frame.exclusive and not self._sees(name):
            self._closing.add(channel)
            self._send(commands.Channel.Close(404, f"NOT_FOUND - no queue '{name}' in vhost '/'", 50, 10), channel)
        elif not frame.exclusive:
            readers = sum(name in each.consumes for each in broker.clients)
            self._send(commands.Queue.DeclareOk(name, len(broker.queues[name]), readers), channel)
        elif broker.names.setdefault(name, self) is self:
            self._send(commands.Queue.DeclareOk(name, 0, 0), channel)
        else:
            self._send(commands.Channel.Close(405, "RESOURCE_LOCKED", 50, 10), channel)

    def _sees(self, name: str) -> bool:
        unseen = self._broker.unseen.get(name, 0)
        self._broker.unseen[name] = max(unseen - 1, 0)
        return name in self._broker.queues and not unseen

    def _fill(self) -> None:
        for name, (channel, consumer, prefetch) in self.consumes.items():
            queue = self._broker.queues[name]
            while (
                queue
                and name not in self._broker.frozen
                and sum(name == each for each, _ in self.open.values()) < prefetch
            ):
                self._deliver(channel, consumer, name, queue.pop(0))

    def _deliver(self, channel: int, consumer: str, name: str, message: Message) -> None:
        tag = next(self._tags)
        self.open[tag] = name, message
        self._send(commands.Basic.Deliver(consumer, tag, False, "", name), channel)
        properties = commands.Basic.Properties(message_id=message[0])
        self._send(header.ContentHeader(0, len(message[1]), properties), channel)
        self._send(body.ContentBody(message[1]), channel)


@asynccontextmanager
async def waiting_broker() -> AsyncIterator[WaitingBroker]:
    """A listening one."""
    broker = WaitingBroker()
    server = await asyncio.start_server(lambda *each: _Client(broker, *each).serve(), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    broker.address = f"{host}:{port}"
    try:
        yield broker
    finally:
        for each in tuple(broker.clients):
            each.cut()
        server.close()
        await asyncio.gather(*(each.gone.wait() for each in tuple(broker.clients)))
