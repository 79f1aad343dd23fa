"""Frames: how AMQP cuts a connection into pieces. Pure; the socket is elsewhere.

A frame is type (1 byte), channel (2), size of the payload (4), payload, and the byte 0xCE. The splitter is fed what the socket
gave and hands out whole frames. A size beyond what was agreed, an unknown type or a wrong last byte raises MalformedFrame at once,
so that nothing a peer sends makes it wait for, or hold, more than one frame.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from relayfleet.amqp.errors import MalformedFrame

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
OVERHEAD = 8
"""Bytes of a frame that are not payload."""

_TYPES = frozenset((METHOD, HEADER, BODY, HEARTBEAT))
_PREFIX = struct.Struct("!BHI")
_END = 0xCE
_END_BYTE = b"\xce"
HEARTBEAT_FRAME = _PREFIX.pack(HEARTBEAT, 0, 0) + _END_BYTE


class Frame(NamedTuple):
    """One frame; `payload` is a copy of its own."""

    type: int
    channel: int
    payload: bytes


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """The bytes of one frame."""
    return b"".join((_PREFIX.pack(kind, channel, len(payload)), payload, _END_BYTE))


def body_frames(channel: int, body: bytes, frame_max: int) -> list[bytes]:
    """A message body as a list of byte pieces (not one a frame), cut so that no frame is larger than `frame_max`."""
    room = frame_max - OVERHEAD
    if len(body) <= room:
        return [_PREFIX.pack(BODY, channel, len(body)), body, _END_BYTE] if body else []
    pieces = []
    view = memoryview(body)
    for start in range(0, len(body), room):
        part = view[start : start + room]
        pieces += [_PREFIX.pack(BODY, channel, len(part)), bytes(part), _END_BYTE]
    return pieces


class Splitter:
    """Cuts a byte stream into frames. `frame_max` bounds a whole frame and may be raised after tuning."""

    __slots__ = ("_rest", "frame_max")

    def __init__(self, frame_max: int) -> None:
        self.frame_max = frame_max
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises MalformedFrame; the stream is of no use after that."""
        if self._rest:
            data = self._rest + data
        found: list[Frame] = []
        start, end = 0, len(data)
        while end - start >= OVERHEAD:
            kind, channel, size = _PREFIX.unpack_from(data, start)
            self._check(kind, size, data)
            last = start + 7 + size
            if last >= end:
                break
            if data[last] != _END:
                raise MalformedFrame(f"a frame of type {kind} ends with {data[last]:#x} instead of 0xce")
            found.append(Frame(kind, channel, data[start + 7 : last]))
            start = last + 1
        self._rest = data[start:]
        return found

    def _check(self, kind: int, size: int, data: bytes) -> None:
        if data.startswith(b"AMQP"):
            raise MalformedFrame(f"the peer wants another version of the protocol: {data[4:8].hex(' ')}")
        if kind not in _TYPES:
            raise MalformedFrame(f"unknown frame type {kind}: the peer does not speak AMQP 0-9-1")
        if size + OVERHEAD > self.frame_max:
            raise MalformedFrame(f"a frame of {size + OVERHEAD} bytes, where at most {self.frame_max} were agreed")
