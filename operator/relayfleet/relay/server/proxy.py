"""The PROXY protocol, versions 1 and 2: the first bytes of a connection, by which a balancer says who the client is. Pure.

Only believed from peers in `proxy_sources`, and demanded of them: a client that could write such a header itself could claim an
address in an allowed network. A header that names no client (LOCAL, UNKNOWN, a family that is not IP) gives a client without an
address, who is in no allowed network.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

from relayfleet.relay.server.access import Address

_V1 = b"PROXY "
_V1_LENGTH = 107
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_HEAD = struct.Struct("!12sBBH")
_V2_LENGTH = 2048
"""Longest that a balancer with all its extra fields (TLVs) is known to send is far below; bounds what is buffered."""


class HeaderError(ValueError):
    """The bytes are no PROXY header."""


class Header(NamedTuple):
    """A complete header: its length in bytes, and the client's address if it names one."""

    length: int
    client: Address | None


def parse(data: bytes) -> Header | None:
    """The header at the start of `data`; None when it is not complete yet. Raises HeaderError."""
    if data[: len(_V1)] == _V1[: len(data)]:
        return _parse_v1(data)
    if data[: len(_V2)] == _V2[: len(data)]:
        return _parse_v2(data)
    raise HeaderError


def _parse_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, _V1_LENGTH)
    if end < 0:
        if len(data) >= _V1_LENGTH:
            raise HeaderError
        return None
    words = data[:end].split(b" ")
    if words[1:2] == [b"UNKNOWN"]:
        return Header(end + 2, None)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise HeaderError
    try:
        client = ipaddress.ip_address(words[2].decode("ascii"))
    except ValueError:
        raise HeaderError from None
    if client.version != int(words[1][-1:]):
        raise HeaderError
    return Header(end + 2, client)


def _parse_v2(data: bytes) -> Header | None:
    if len(data) < _V2_HEAD.size:
        return None
    _, version_command, family, size = _V2_HEAD.unpack_from(data)
    if version_command not in (0x20, 0x21) or size > _V2_LENGTH:
        raise HeaderError
    length = _V2_HEAD.size + size
    if len(data) < length:
        return None
    if version_command == 0x20:
        return Header(length, None)
    return Header(length, _v2_client(family, data[_V2_HEAD.size : length]))


def _v2_client(family: int, block: bytes) -> Address | None:
    if family == 0x11:
        return _address(block, 4, 12)
    if family == 0x21:
        return _address(block, 16, 36)
    return None


def _address(block: bytes, size: int, least: int) -> Address:
    if len(block) < least:
        raise HeaderError
    return ipaddress.ip_address(block[:size])
