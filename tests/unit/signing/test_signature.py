"""Signatures, judged by an implementation that this project did not write."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from relayfleet.relay.signing.canonical import body_digest
from relayfleet.relay.signing.head import read
from relayfleet.relay.signing.keys import parse
from relayfleet.relay.signing.signature import SIGNED, WIDTH, Signer, field, hashed
from tests.unit.signing.keys import ed25519_key, pem, rsa_key
from tests.unit.signing.oracle import PUBLISHED, unstuffed, verified

SIGNERS = (Signer("rsa1", parse(pem(rsa_key()))), Signer("ed1", parse(pem(ed25519_key()))))
MATTER = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
]
NOW = 1_700_000_000
"""In the past: a signature from the future is none."""
MAIL = (
    b"Received: from x\r\n\tby y; Mon, 1 Jan 2026 00:00:00 +0000\r\n"
    b"From:  A  <a@sender.test>\r\nTo: b@one.test,\r\n c@one.test\r\nSubject: =?utf-8?q?x?=\t hello \r\n"
    b"Date: Mon, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nhello  world \r\n..a dot\r\n\r\n\r\n"
)


def signed(message: bytes, domain: str = "sender.test") -> bytes:
    """The mail as it goes over the wire."""
    head = read(message)
    what = hashed(head.fields, body_digest(message, head.body_at))
    return b"".join(field(what, domain, each, NOW) for each in SIGNERS) + message


def test_both_signatures_verify() -> None:
    assert verified(unstuffed(signed(MAIL))) == [True, True]


def test_the_oracle_and_what_is_signed_can_say_no() -> None:
    """Every field that matters and the body: a change of it, or one more of it, breaks both."""
    received = unstuffed(signed(MAIL))
    end = received.index(b"\r\n\r\nhello")
    for name in MATTER:
        more = received[:end] + f"\r\n{name}: forged".encode() + received[end:]
        assert verified(more) == [False, False], name
    for old, new in (
        (b"hello  world", b"hello worlds"),
        (b".a dot", b"..a dot"),
        (b"<a@", b"<c@"),
        (b"c@one", b"d@one"),
    ):
        assert old in received
        assert verified(received.replace(old, new)) == [False, False], old
    other = {**PUBLISHED, "rsa1._domainkey.sender.test": b"v=DKIM1; p="}
    assert verified(received, other) == [False, True]


def test_what_receivers_do_on_the_way_breaks_nothing() -> None:
    received = unstuffed(signed(MAIL))
    folded = received.replace(b"From:  A  <a", b"From: A\r\n\t<a").replace(b"hello  world \r\n", b"hello world\r\n")
    assert verified(b"Received: from us\r\n\tby them\r\n" + folded) == [True, True]


def test_lines_are_folded_and_tags_are_as_asked() -> None:
    fields = signed(MAIL)[: -len(MAIL)]
    assert max(map(len, fields.split(b"\r\n"))) == WIDTH
    tags = [
        dict(re.findall(r"([a-z]+)=([^;]*)", re.sub(r"\s", "", each))) for each in fields.decode().split("DKIM-Sig")[1:]
    ]
    assert [(each["a"], each["s"]) for each in tags] == [("rsa-sha256", "rsa1"), ("ed25519-sha256", "ed1")]
    for each in tags:
        assert (each["c"], each["d"], each["t"]) == ("relaxed/relaxed", "sender.test", str(NOW))
        assert "l" not in each
        names = each["h"].split(":")
        assert [names.count(name) for name in ("from", "to", "list-unsubscribe", "received")] == [2, 2, 1, 0]


def test_long_domains_and_selectors_fold_too() -> None:
    domain = ".".join(["a" * 60] * 3)
    published = {key.replace("sender.test", domain): text for key, text in PUBLISHED.items()}
    assert verified(unstuffed(signed(MAIL.replace(b"sender.test", domain.encode()), domain)), published) == [True, True]


WORDS = st.text(alphabet="abc \t.=:;<>\xe9\u20ac", min_size=1, max_size=30).map(str.strip).filter(bool)
VALUES = st.lists(WORDS, min_size=1, max_size=4).map("\r\n\t".join)
NAMES = st.sampled_from([*SIGNED[1:], "Subject", "X-Other", "Received", "LIST-Unsubscribe"])
LINES = st.lists(st.text(alphabet=" \t.ab\xe9", max_size=90), max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, st.sampled_from([":", ": ", ":\r\n "]), VALUES), max_size=12), LINES)
def test_any_mail(more: list[tuple[str, str, str]], lines: list[str]) -> None:
    head = "".join(f"{name}{colon}{value}\r\n" for name, colon, value in [*more, ("From", ": ", "a@sender.test")])
    body = "".join(f"{'.' * line.startswith('.')}{line}\r\n" for line in lines)
    assert verified(unstuffed(signed(f"{head}\r\n{body}".encode()))) == [True, True]
