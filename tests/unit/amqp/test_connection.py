"""The connection against a scripted broker on loopback: deadlines, heartbeats, back-pressure, and a broker that misbehaves.

The broker's side is written with an independent codec; the real broker is in tests/relay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from pamqp import base, commands, header
from pamqp import frame as codec
from pamqp import heartbeat as beat

from relayfleet.amqp.channel import Channel
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.dial import Address, Login, connect
from relayfleet.amqp.errors import (
    AccessRefused,
    AmqpError,
    ConnectionLost,
    DeadlineExceeded,
    MalformedFrame,
    Nacked,
    NotFound,
    Returned,
    Unreachable,
)
from relayfleet.amqp.publishing import PublishChannel

LOGIN = Login("relay", "secret")


class Broker:
    """One accepted connection, from the broker's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._data = b""

    def send(self, frame: base.Frame, channel: int = 0) -> None:
        self.writer.write(codec.marshal(frame, channel))

    async def read(self) -> object:
        """The next frame of any kind."""
        while True:
            if len(self._data) >= 7 and len(self._data) >= 8 + int.from_bytes(self._data[3:7], "big"):
                size, _, frame = codec.unmarshal(self._data)
                self._data = self._data[size:]
                return frame
            data = await self.reader.read(65536)
            if not data:
                raise ConnectionError("closed")
            self._data += data

    async def expect(self, kind: type[base.Frame]) -> None:
        """Read until that method came."""
        while not isinstance(await self.read(), kind):
            pass

    async def accept(self, heartbeat: int = 0) -> None:
        """The handshake, without a login check."""
        await self.reader.readexactly(8)
        self.send(commands.Connection.Start())
        await self.expect(commands.Connection.StartOk)
        self.send(commands.Connection.Tune(100, 131072, heartbeat))
        await self.expect(commands.Connection.Open)
        self.send(commands.Connection.OpenOk())

    async def accept_channel(self, number: int = 1, confirms: bool = False) -> None:
        await self.expect(commands.Channel.Open)
        self.send(commands.Channel.OpenOk(), number)
        if confirms:
            await self.expect(commands.Confirm.Select)
            self.send(commands.Confirm.SelectOk(), number)


@asynccontextmanager
async def broker(script: Callable[[Broker], Awaitable[None]]) -> AsyncIterator[Address]:
    """A listening broker that runs the script for each connection, then stays silent until the test ends."""
    over = asyncio.Event()
    failures: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Broker(reader, writer))
            await over.wait()
        except ConnectionError:
            pass
        except BaseException as error:
            failures.append(error)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Address(*server.sockets[0].getsockname()[:2])
    finally:
        over.set()
        server.close()
        await asyncio.sleep(0)
    assert not failures, failures


async def open_connection(address: Address, heartbeat: int = 30) -> Connection:
    return await connect(address, LOGIN, 5, heartbeat=heartbeat)


async def test_a_silent_peer_costs_the_deadline_and_no_more() -> None:
    async def silent(_: Broker) -> None:
        return

    async with broker(silent) as address:
        with pytest.raises(Unreachable, match=r"within 0\.1 s"):
            await connect(address, LOGIN, 0.1)


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        (b"220 mx.example.com ESMTP\r\n", "does not speak AMQP"),
        (b"AMQP\x00\x01\x00\x00", "another version"),
        (b"", "closed the connection"),
    ],
)
async def test_a_peer_that_is_no_broker_is_said_to_be_none(greeting: bytes, error: str) -> None:
    async def other(peer: Broker) -> None:
        peer.writer.write(greeting)
        await peer.writer.drain()
        raise ConnectionError

    async with broker(other) as address:
        with pytest.raises(Unreachable, match=error):
            await connect(address, LOGIN, 5)


async def test_a_wrong_password_is_called_that() -> None:
    async def refuse(peer: Broker) -> None:
        await peer.reader.readexactly(8)
        peer.send(commands.Connection.Start())
        await peer.expect(commands.Connection.StartOk)
        peer.send(commands.Connection.Close(403, "ACCESS_REFUSED - Login was refused", 0, 0))

    async with broker(refuse) as address:
        with pytest.raises(AccessRefused, match="'relay': wrong password"):
            await connect(address, LOGIN, 5)


async def test_a_question_without_an_answer_ends_the_channel_not_the_connection() -> None:
    async def forgetful(peer: Broker) -> None:
        await peer.accept()
        await peer.accept_channel()
        await peer.expect(commands.Queue.Declare)
        await peer.expect(commands.Channel.Close)
        peer.send(commands.Queue.DeclareOk("late", 1, 1), 1)
        peer.send(commands.Channel.CloseOk(), 1)
        await peer.accept_channel(number=2)

    async with broker(forgetful) as address:
        connection = await open_connection(address)
        channel = await Channel.open(connection, 5)
        with pytest.raises(DeadlineExceeded):
            await channel.declare("q", 0.05, passive=True)
        with pytest.raises(DeadlineExceeded):
            await channel.declare("q", 5)
        assert (await Channel.open(connection, 5)).is_open
        connection.lose(ConnectionLost("end of test"))


async def test_who_is_cancelled_while_he_says_goodbye_leaves_no_socket_open() -> None:
    async def deaf(peer: Broker) -> None:
        await peer.accept()

    async with broker(deaf) as address:
        connection = await open_connection(address)
        goodbye = asyncio.create_task(connection.close(60))
        await asyncio.sleep(0)
        goodbye.cancel()
        await asyncio.wait([goodbye])
        assert not connection.is_open


async def test_an_error_of_ours_comes_back_in_the_brokers_words() -> None:
    async def strict(peer: Broker) -> None:
        await peer.accept()
        await peer.accept_channel()
        await peer.expect(commands.Queue.Declare)
        peer.send(commands.Channel.Close(404, "NOT_FOUND - no queue 'q'", 50, 10), 1)
        await peer.expect(commands.Channel.CloseOk)

    async with broker(strict) as address:
        connection = await open_connection(address)
        channel = await Channel.open(connection, 5)
        with pytest.raises(NotFound, match="no queue 'q'"):
            await channel.declare("q", 5, passive=True)
        assert connection.is_open
        connection.lose(ConnectionLost("end of test"))


async def test_a_silent_connection_is_lost_after_two_heartbeats_and_ours_are_sent() -> None:
    beats: list[object] = []

    async def frozen(peer: Broker) -> None:
        await peer.accept(heartbeat=1)
        while True:
            beats.append(await peer.read())

    async with broker(frozen) as address:
        connection = await open_connection(address)
        assert "nothing heard" in str(await connection.lost)
        assert beats
        assert all(isinstance(each, beat.Heartbeat) for each in beats)


async def test_confirms_nacks_returns_and_a_lost_connection_reach_the_right_publish() -> None:
    async def moody(peer: Broker) -> None:
        await peer.accept()
        await peer.accept_channel(confirms=True)
        for _ in range(4):
            await peer.expect(commands.Basic.Publish)
        properties = commands.Basic.Properties(correlation_id="2", delivery_mode=2)
        peer.send(commands.Basic.Return(312, "NO_ROUTE", "", "q"), 1)
        peer.writer.write(codec.marshal(header.ContentHeader(0, 0, properties), 1))
        peer.send(commands.Basic.Nack(3, False, False), 1)
        peer.send(commands.Basic.Ack(2, True), 1)
        await peer.writer.drain()
        raise ConnectionError

    async with broker(moody) as address:
        connection = await open_connection(address)
        channel = await PublishChannel.open(connection, 5)
        sent = [channel.publish("q", b"x", str(each)) for each in range(4)]
        outcomes = await asyncio.gather(*(each.stored for each in sent), return_exceptions=True)
        assert [type(each) for each in outcomes] == [type(None), Returned, Nacked, ConnectionLost]
        assert channel.unconfirmed == channel.unconfirmed_bytes == 0
        with pytest.raises(ConnectionLost):
            channel.publish("q", b"x", "late")


async def test_a_blocked_connection_says_so_and_its_writers_wait_with_a_deadline() -> None:
    unblock = asyncio.Event()

    async def full(peer: Broker) -> None:
        await peer.accept()
        await peer.accept_channel(confirms=True)
        peer.send(commands.Connection.Blocked("low on disk"))
        await unblock.wait()
        peer.send(commands.Connection.Unblocked())
        while True:
            await peer.reader.read(1 << 20)

    async with broker(full) as address:
        connection = await open_connection(address)
        channel = await PublishChannel.open(connection, 5)
        for each in range(64):
            channel.publish("q", bytes(1 << 20), str(each))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded, match="low on disk"):
            await connection.writable(0.2)
        assert connection.blocked == "low on disk"
        unblock.set()
        await connection.writable(10)
        assert connection.blocked == ""
        connection.lose(ConnectionLost("end of test"))


@pytest.mark.parametrize(
    ("frame", "channel"),
    [
        (commands.Basic.Ack(1, False), 1),
        (commands.Basic.Deliver("t", 1, False, "", "q"), 9),
        (commands.Queue.DeclareOk("q", 1, 1), 1),
        (commands.Tx.SelectOk(), 1),
    ],
)
async def test_a_broker_out_of_step_costs_the_connection_and_nothing_hangs(frame: base.Frame, channel: int) -> None:
    async def confused(peer: Broker) -> None:
        await peer.accept()
        await peer.accept_channel()
        peer.send(frame, channel)

    async with broker(confused) as address:
        connection = await open_connection(address)
        opened = await Channel.open(connection, 5)
        assert isinstance(await connection.lost, MalformedFrame)
        with pytest.raises(AmqpError):
            await opened.declare("q", 5)


@pytest.mark.parametrize(
    ("text", "host", "port"), [("mq-0.mq:5671", "mq-0.mq", 5671), ("[2001:db8::1]:5671", "2001:db8::1", 5671)]
)
def test_addresses_are_read(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["mq", "mq:", ":5671", "mq:0", "mq:65536", "mq:amqp"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        Address.parse(text)


async def test_a_record_is_dropped_from_a_queue_or_there_is_none() -> None:
    async def script(broker: Broker) -> None:
        await broker.accept()
        await broker.accept_channel()
        await broker.expect(commands.Basic.Get)
        broker.send(commands.Basic.GetOk(1, False, "", "q", 0), 1)
        broker.writer.write(codec.marshal(header.ContentHeader(0, 3, commands.Basic.Properties()), 1))
        broker.writer.write(b"\x03\x00\x01\x00\x00\x00\x03abc\xce")
        await broker.expect(commands.Basic.Get)
        broker.send(commands.Basic.GetEmpty(), 1)

    async with broker(script) as address:
        connection = await open_connection(address)
        channel = await Channel.open(connection, 5)
        assert await channel.drop_one("q", 5)
        assert not await channel.drop_one("q", 5)
        assert channel.is_open
        connection.lose(AmqpError("done"))


async def test_a_peer_that_sends_more_than_it_may_is_left() -> None:
    async def script(broker: Broker) -> None:
        await broker.accept()
        await broker.expect(commands.Channel.Open)
        broker.writer.write(b"\x08\x00\x00\x00\x00\x00\x00\xce" * 1024)

    async with broker(script) as address:
        connection = await connect(address, LOGIN, 5, allowance=4096)
        with pytest.raises(MalformedFrame, match="far more than was asked for"):
            await Channel.open(connection, 5)
