"""The relaxed forms, by the examples of the RFCs and by an implementation that looks at the whole body at once."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.signing import canonical
from relayfleet.relay.signing.canonical import body_digest, relaxed_field
from relayfleet.relay.signing.head import read
from relayfleet.relay.signing.keys import parse

RFC6376 = b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n"
RFC8463 = (
    b"From: Joe SixPack <joe@football.example.com>\r\n"
    b"To: Suzie Q <suzie@shopping.example.net>\r\n"
    b"Subject: Is dinner ready?\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
    b"\r\n"
    b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
)
RFC8463_SECRET = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
RFC8463_FIELD = (
    b" v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n"
    b" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n"
    b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b="
)
RFC8463_SIGNATURE = "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
EMPTY = hashlib.sha256(b"").digest()


def test_header_fields_as_in_rfc_6376() -> None:
    assert [relaxed_field(*each) for each in read(RFC6376).fields] == [b"a:X", b"b:Y Z"]


def test_a_body_as_in_rfc_6376() -> None:
    assert body_digest(RFC6376, read(RFC6376).body_at) == hashlib.sha256(b" C\r\nD E\r\n").digest()


def test_a_whole_mail_as_in_rfc_8463() -> None:
    """Ed25519 signatures have no chance in them, so ours must be theirs to the last bit."""
    head = read(RFC8463)
    assert base64.b64encode(body_digest(RFC8463, head.body_at)) == b"2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(RFC8463_SECRET))
    ours = parse(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    fields = b"".join(relaxed_field(*each) + b"\r\n" for each in head.fields)
    signature = ours.sign(fields + relaxed_field(b"DKIM-Signature", RFC8463_FIELD))
    assert base64.b64encode(signature).decode() == RFC8463_SIGNATURE


@pytest.mark.parametrize(
    ("body", "form"),
    [
        pytest.param(b"", b"", id="none"),
        pytest.param(b"\r\n\r\n", b"", id="empty lines only"),
        pytest.param(b" \t\r\n\r\n", b"", id="white space only"),
        pytest.param(b"..\r\n", b".\r\n", id="a lone dot, stuffed"),
        pytest.param(b".. \r\n..a\r\n", b".\r\n.a\r\n", id="dots at line begins"),
        pytest.param(b"a..\r\n.b\r\n", b"a..\r\nb\r\n", id="a client that did not stuff"),
        pytest.param(b"a\t \t b \r\n \r\n", b"a b\r\n", id="white space"),
        pytest.param(b"\xe4 \xff\r\n", b"\xe4 \xff\r\n", id="8-bit"),
        pytest.param(b"a\x0bb\xa0c\r\n", b"a\x0bb\xa0c\r\n", id="what is no white space in mail"),
    ],
)
def test_bodies_on_the_wire(body: bytes, form: bytes) -> None:
    assert body_digest(b"A: b\r\n\r\n" + body, 8) == hashlib.sha256(form).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_no_cut_parts_a_dot_from_its_line(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A client that did not stuff: the dot goes, and what is left of the body is empty lines."""
    monkeypatch.setattr(canonical, "PIECE_BYTES", size)
    assert body_digest(b"aa\r\n. \r\n\r\n", 0) == hashlib.sha256(b"aa\r\n").digest()


def whole(body: bytes) -> bytes:
    """The relaxed form of a dot-stuffed body, in one go and by other means."""
    lines = [line.removeprefix(b".") for line in body.split(b"\r\n")[:-1]]
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


LINES = st.lists(st.text(alphabet=" \t.ab\xe9", max_size=12).map(str.encode), max_size=40)


@given(LINES, st.integers(1, 20))
def test_pieces_make_no_difference(lines: list[bytes], size: int) -> None:
    stuffed = b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines)
    before, canonical.PIECE_BYTES = canonical.PIECE_BYTES, size
    try:
        assert body_digest(stuffed, 0) == hashlib.sha256(whole(stuffed)).digest()
    finally:
        canonical.PIECE_BYTES = before
