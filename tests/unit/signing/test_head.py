"""Whose mail it is."""

from __future__ import annotations

import pytest

from relayfleet.relay.signing.head import MOST_BYTES, MOST_FIELDS, HeadError, author_domain, read


def author(value: str) -> str:
    return author_domain(read(f"From:{value}\r\nSubject: x\r\n\r\nbody\r\n".encode()))


@pytest.mark.parametrize(
    ("value", "domain"),
    [
        (" a@sender.test", "sender.test"),
        (" A <a@Sender.TEST>", "sender.test"),
        ("\r\n\tA\r\n <a@sender.test>", "sender.test"),
        (' "Ceo <ceo@other.test>, Inc." <a@sender.test>', "sender.test"),
        (' "a \\" (b" <a@sender.test> (on (behalf) of x@other.test)', "sender.test"),
        (' "a@b"@sender.test', "sender.test"),
        (" Jörg <jörg@bücher.test>", "xn--bcher-kva.test"),
        (" a@xn--bcher-kva.test", "xn--bcher-kva.test"),
        (" a@sender.test, b@sender.test", "sender.test"),
        (" a@[192.0.2.1]", "[192.0.2.1]"),
    ],
)
def test_the_author(value: str, domain: str) -> None:
    assert author(value) == domain


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "no address"),
        (" somebody", "no address"),
        (" <>", "no address"),
        (" a@", "no address"),
        (" a@b@sender.test", "no address"),
        (" a@sender.test x", "no address"),
        (" <a@sender.test> <b@other.test>", "no address"),
        (" a@sender.test, b@other.test", "several domains"),
        (' "open <a@sender.test>', "open quote"),
        (" (open <a@sender.test>", "open comment"),
        (" a) <a@sender.test>", "open comment"),
        (" team: a@sender.test;", "group"),
        (" a@sen\x7f der.test", "no address"),
        (" a@\u2026.test", "cannot be read"),
    ],
)
def test_an_author_that_cannot_be_told(value: str, says: str) -> None:
    with pytest.raises(HeadError, match=says):
        author(value)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"From: a@sender.test\r\nfrom: b@other.test\r\n\r\n", id="two From"),
        pytest.param(b"Subject: x\r\n\r\nFrom: a@sender.test\r\n", id="no From"),
        pytest.param(b"\r\nFrom: a@sender.test\r\n", id="no head"),
    ],
)
def test_exactly_one_from(message: bytes) -> None:
    with pytest.raises(HeadError, match="From fields"):
        author_domain(read(message))


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"From: a@sender.test\r\nno field\r\n\r\n", id="text"),
        pytest.param(b" folded: x\r\nFrom: a@sender.test\r\n\r\n", id="begins folded"),
        pytest.param(b"X: " + b"x" * MOST_BYTES + b"\r\n\r\n", id="endless"),
        pytest.param(b"From: a@sender.test\r\n" + b"To: x\r\n" * MOST_FIELDS + b"\r\n", id="crowded"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_no_head(message: bytes) -> None:
    with pytest.raises(HeadError):
        read(message)


def test_a_mail_that_is_all_head() -> None:
    head = read(b"From: a@sender.test\r\nSubject: x\r\n")
    assert (author_domain(head), head.body_at) == ("sender.test", 33)
