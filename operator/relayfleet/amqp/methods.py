"""The methods of AMQP 0-9-1 that we speak: those we send as payload builders, those we get as small tuples.

Pure. A method is a class number and a method number (2 bytes each), then its arguments. Numbers and orders of arguments are those
of the protocol's XML definition with RabbitMQ's extensions (confirm.select, basic.nack, connection.blocked).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from relayfleet.amqp.errors import MalformedFrame
from relayfleet.amqp.fields import Reader, long_string, short_string, table

_ID = struct.Struct("!HH")
_TUNE = struct.Struct("!HIH")
_TAG = struct.Struct("!QB")
_CODE = struct.Struct("!H")
_U32 = struct.Struct("!I")

CONNECTION_CLOSE_OK = _ID.pack(10, 51)
CHANNEL_OPEN = _ID.pack(20, 10) + b"\x00"
CHANNEL_CLOSE_OK = _ID.pack(20, 41)
CONFIRM_SELECT = _ID.pack(85, 10) + b"\x00"


class Start(NamedTuple):
    """connection.start"""

    properties: dict[str, Any]
    mechanisms: bytes


class Tune(NamedTuple):
    """connection.tune: at most so many channels, bytes a frame, seconds between heartbeats; 0 is no limit."""

    channel_max: int
    frame_max: int
    heartbeat: int


class Close(NamedTuple):
    """connection.close or channel.close"""

    code: int
    text: str


class Blocked(NamedTuple):
    """connection.blocked: the broker reads no more publishes."""

    reason: str


class DeclareOk(NamedTuple):
    """queue.declare-ok: `messages` are those ready for delivery."""

    name: str
    messages: int
    consumers: int


class Ack(NamedTuple):
    """basic.ack of a publish."""

    tag: int
    multiple: bool


class Nack(NamedTuple):
    """basic.nack of a publish."""

    tag: int
    multiple: bool


class Return(NamedTuple):
    """basic.return; the message follows."""

    code: int
    text: str


class Deliver(NamedTuple):
    """basic.deliver; the message follows. `tag` is the delivery's, `consumer` the tag of the consumer that it is for."""

    tag: int
    redelivered: bool
    consumer: str


class Got(NamedTuple):
    """basic.get-ok, and the message follows; or basic.get-empty."""

    empty: bool


class Cancelled(NamedTuple):
    """basic.cancel by the broker, when the queue is gone. `consumer`: the tag of the one that it ended."""

    consumer: str


class Reply(NamedTuple):
    """An answer without arguments that matter: `name` as in the protocol."""

    name: str


Method = Start | Tune | Close | Blocked | DeclareOk | Ack | Nack | Return | Deliver | Got | Cancelled | Reply


def parse(payload: bytes) -> tuple[int, Method]:
    """(class number, method) of a method frame's payload. Raises MalformedFrame, also for a method that no broker sends us."""
    reader = Reader(payload)
    kind = reader.fixed(_ID)
    parser = _PARSERS.get((kind[0], kind[1]))
    if parser is None:
        raise MalformedFrame(f"unexpected method {kind[0]}.{kind[1]}")
    return kind[0], parser(reader)


def _start(reader: Reader) -> Start:
    reader.take(2)
    return Start(reader.table(), reader.long_string())


def _close(reader: Reader) -> Close:
    return Close(reader.fixed(_CODE)[0], reader.short_string())


def _declare_ok(reader: Reader) -> DeclareOk:
    return DeclareOk(reader.short_string(), reader.fixed(_U32)[0], reader.fixed(_U32)[0])


def _ack(reader: Reader) -> Ack:
    tag, bits = reader.fixed(_TAG)
    return Ack(tag, bool(bits & 1))


def _nack(reader: Reader) -> Nack:
    tag, bits = reader.fixed(_TAG)
    return Nack(tag, bool(bits & 1))


def _return(reader: Reader) -> Return:
    return Return(reader.fixed(_CODE)[0], reader.short_string())


def _deliver(reader: Reader) -> Deliver:
    consumer = reader.short_string()
    tag, bits = reader.fixed(_TAG)
    return Deliver(tag, bool(bits & 1), consumer)


def _reply(name: str) -> Callable[[Reader], Reply]:
    answer = Reply(name)
    return lambda _: answer


_PARSERS: dict[tuple[int, int], Callable[[Reader], Method]] = {
    (10, 10): _start,
    (10, 30): lambda reader: Tune(*reader.fixed(_TUNE)),
    (10, 41): _reply("connection.open-ok"),
    (10, 50): _close,
    (10, 51): _reply("connection.close-ok"),
    (10, 60): lambda reader: Blocked(reader.short_string()),
    (10, 61): _reply("connection.unblocked"),
    (20, 11): _reply("channel.open-ok"),
    (20, 40): _close,
    (20, 41): _reply("channel.close-ok"),
    (50, 11): _declare_ok,
    (50, 21): _reply("queue.bind-ok"),
    (50, 41): _reply("queue.delete-ok"),
    (60, 11): _reply("basic.qos-ok"),
    (60, 21): _reply("basic.consume-ok"),
    (60, 30): lambda reader: Cancelled(reader.short_string()),
    (60, 31): _reply("basic.cancel-ok"),
    (60, 50): _return,
    (60, 60): _deliver,
    (60, 71): lambda _: Got(empty=False),
    (60, 72): lambda _: Got(empty=True),
    (60, 80): _ack,
    (60, 120): _nack,
    (85, 11): _reply("confirm.select-ok"),
}


def start_ok(properties: Mapping[str, Any], username: str, password: str) -> bytes:
    """connection.start-ok with PLAIN."""
    secret = f"\x00{username}\x00{password}".encode()
    return b"".join(
        (_ID.pack(10, 11), table(properties), short_string("PLAIN"), long_string(secret), short_string("en_US"))
    )


def tune_ok(tune: Tune) -> bytes:
    """connection.tune-ok"""
    return _ID.pack(10, 31) + _TUNE.pack(*tune)


def open_vhost(vhost: str) -> bytes:
    """connection.open"""
    return _ID.pack(10, 40) + short_string(vhost) + b"\x00\x00"


def connection_close(code: int, text: str) -> bytes:
    """connection.close"""
    return _ID.pack(10, 50) + _CODE.pack(code) + short_string(text) + bytes(4)


def channel_close(code: int, text: str) -> bytes:
    """channel.close"""
    return _ID.pack(20, 40) + _CODE.pack(code) + short_string(text) + bytes(4)


def queue_declare(
    queue: str, *, passive: bool, durable: bool, exclusive: bool = False, arguments: Mapping[str, Any]
) -> bytes:
    """queue.declare"""
    bits = passive | durable << 1 | exclusive << 2
    return b"".join((_ID.pack(50, 10), b"\x00\x00", short_string(queue), bytes((bits,)), table(arguments)))


def queue_bind(queue: str, exchange: str, routing_key: str) -> bytes:
    """queue.bind"""
    names = short_string(queue), short_string(exchange), short_string(routing_key)
    return b"".join((_ID.pack(50, 20), b"\x00\x00", *names, b"\x00", table({})))


def queue_delete(queue: str) -> bytes:
    """queue.delete, whatever is in it"""
    return _ID.pack(50, 40) + b"\x00\x00" + short_string(queue) + b"\x00"


def qos(prefetch: int) -> bytes:
    """basic.qos: how many deliveries each consumer that begins after it on the channel may have unacknowledged"""
    return _ID.pack(60, 10) + struct.pack("!IHB", 0, prefetch, 0)


def consume(queue: str, tag: str, arguments: Mapping[str, Any]) -> bytes:
    """basic.consume with acknowledgements"""
    return b"".join((_ID.pack(60, 20), b"\x00\x00", short_string(queue), short_string(tag), b"\x00", table(arguments)))


def get(queue: str) -> bytes:
    """basic.get without an acknowledgement: what is got is gone"""
    return b"".join((_ID.pack(60, 70), b"\x00\x00", short_string(queue), b"\x01"))


def cancel(tag: str) -> bytes:
    """basic.cancel"""
    return _ID.pack(60, 30) + short_string(tag) + b"\x00"


def publish(exchange: str, routing_key: str) -> bytes:
    """basic.publish, mandatory; header and body frames follow"""
    return b"".join((_ID.pack(60, 40), b"\x00\x00", short_string(exchange), short_string(routing_key), b"\x01"))


def ack(tag: int, multiple: bool) -> bytes:
    """basic.ack of a delivery"""
    return _ID.pack(60, 80) + _TAG.pack(tag, multiple)


def nack(tag: int, multiple: bool) -> bytes:
    """basic.nack of a delivery, which goes back to its queue"""
    return _ID.pack(60, 120) + _TAG.pack(tag, multiple | 2)
