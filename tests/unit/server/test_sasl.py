"""AUTH PLAIN and LOGIN, step by step."""

from __future__ import annotations

import base64

import pytest

from relayfleet.relay.server import replies
from relayfleet.relay.server.replies import Refused, Reply
from relayfleet.relay.server.sasl import Credentials, Exchange


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_plain_with_initial_response() -> None:
    assert Exchange("PLAIN").begin(b64(b"\0ann\0secret")) == Credentials("ann", b"secret")
    assert Exchange("PLAIN").begin(b64(b"ann\0ann\0secret")) == Credentials("ann", b"secret")


def test_plain_without_initial_response_is_challenged_by_nothing() -> None:
    exchange = Exchange("PLAIN")
    assert exchange.begin(None) == ""
    assert exchange.step(b64(b"\0ann\0secret")) == Credentials("ann", b"secret")


def test_login_asks_for_name_then_password() -> None:
    exchange = Exchange("LOGIN")
    assert exchange.begin(None) == b64(b"Username:")
    assert exchange.step(b64(b"ann")) == b64(b"Password:")
    assert exchange.step(b64("sécret".encode())) == Credentials("ann", "sécret".encode())


def test_login_may_give_the_name_at_once() -> None:
    assert Exchange("LOGIN").begin(b64(b"ann")) == b64(b"Password:")


@pytest.mark.parametrize(
    ("mechanism", "answer", "reply"),
    [
        ("PLAIN", "*", replies.AUTH_CANCELLED),
        ("PLAIN", "no base64!", replies.BAD_BASE64),
        ("PLAIN", "ä", replies.BAD_BASE64),
        ("PLAIN", b64(b"ann"), replies.SYNTAX),
        ("PLAIN", b64(b"\0ann\0a\0b"), replies.SYNTAX),
        ("PLAIN", b64(b"bob\0ann\0secret"), replies.BAD_CREDENTIALS),
        ("PLAIN", b64(b"\0\xff\0secret"), replies.BAD_CREDENTIALS),
        ("LOGIN", "*", replies.AUTH_CANCELLED),
    ],
)
def test_it_is_refused(mechanism: str, answer: str, reply: Reply) -> None:
    with pytest.raises(Refused) as caught:
        Exchange(mechanism).step(answer)
    assert caught.value.reply is reply


def test_other_mechanisms_are_unknown() -> None:
    with pytest.raises(Refused) as caught:
        Exchange("CRAM-MD5")
    assert caught.value.reply is replies.UNKNOWN_MECHANISM


def test_a_password_does_not_show_in_its_representation() -> None:
    assert "secret" not in repr(Credentials("ann", b"secret"))
