"""The PROXY protocol, both versions."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.server.proxy import Header, HeaderError, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = ipaddress.ip_address("192.0.2.1")
V6 = ipaddress.ip_address("2001:db8::1")


def v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


GOOD = {
    b"PROXY TCP4 192.0.2.1 198.18.0.1 40000 25\r\n": V4,
    b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 25\r\n": V6,
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n": None,
    v2(0x21, 0x11, V4.packed + b"\x01\x02\x03\x04" + struct.pack("!HH", 40000, 25)): V4,
    v2(0x21, 0x21, V6.packed + b"\0" * 16 + struct.pack("!HH", 40000, 25)): V6,
    v2(0x21, 0x11, V4.packed + b"\0" * 8 + b"\x04\x00\x01x"): V4,
    v2(0x20, 0x00, b""): None,
    v2(0x21, 0x31, b"\0" * 216): None,
}
BAD = [
    b"EHLO x\r\n",
    b"PROXY\r\n",
    b"PROXY TCP4 192.0.2.1\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    b"PROXY TCP4 evil 198.18.0.1 1 2\r\n",
    b"PROXY TCP5 192.0.2.1 198.18.0.1 1 2\r\n",
    b"PROXY TCP4 " + b"1" * 200,
    v2(0x11, 0x11, V4.packed + b"\0" * 8),
    v2(0x22, 0x11, V4.packed + b"\0" * 8),
    v2(0x21, 0x11, V4.packed),
    v2(0x21, 0x11, b"\0" * 5000),
]


@pytest.mark.parametrize(("data", "client"), GOOD.items(), ids=map(repr, GOOD))
def test_a_header_is_read_and_no_byte_after_it(data: bytes, client: ipaddress.IPv4Address | None) -> None:
    assert parse(data + b"EHLO x\r\n") == Header(len(data), client)
    for end in range(len(data)):
        assert parse(data[:end]) is None


@pytest.mark.parametrize("data", BAD, ids=repr)
def test_it_is_no_header(data: bytes) -> None:
    with pytest.raises(HeaderError):
        parse(data)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE]))
def test_any_bytes_are_a_header_or_a_fault_or_unfinished(data: bytes, start: bytes) -> None:
    try:
        header = parse(start + data)
    except HeaderError:
        return
    assert header is None or header.length <= len(start + data)
