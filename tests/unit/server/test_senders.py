"""Whose domains a credential sends for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.protocol.relay_config import Submitter
from relayfleet.relay.senders import Senders

SENDERS = Senders((Submitter("ann", ("example.com", "xn--bcher-kva.example")), Submitter("bob", ("mail.example.com",))))


@pytest.mark.parametrize(
    ("credential", "sender"),
    [
        ("ann", "a@example.com"),
        ("ann", "a@EXAMPLE.com"),
        ("ann", "bounce+1@deep.below.example.com"),
        ("ann", "a@bücher.example"),
        ("ann", '"odd@other.test"@example.com'),
        ("ann", ""),
        ("bob", "b@mail.example.com"),
        ("nobody-special", "x@any.test"),
        ("", "x@any.test"),
    ],
)
def test_may_send(credential: str, sender: str) -> None:
    assert SENDERS.owns(credential, sender)


@pytest.mark.parametrize(
    ("credential", "sender"),
    [
        ("ann", "a@other.test"),
        ("ann", "a@badexample.com"),
        ("ann", "a@example.com.other.test"),
        ("ann", "a@com"),
        ("ann", '"a@example.com"@other.test'),
        ("ann", "a@[192.0.2.1]"),
        ("ann", "a@[IPv6:2001:db8::1]"),
        ("ann", "example.com"[:7] + "@"),
        ("bob", "b@example.com"),
        ("bob", "b@xmail.example.com"),
    ],
)
def test_may_not_send(credential: str, sender: str) -> None:
    assert not SENDERS.owns(credential, sender)


@given(st.text(max_size=80))
def test_whatever_a_client_says_it_is_answered(sender: str) -> None:
    assert SENDERS.owns("ann", sender) in (True, False)


def test_without_submitters_all_is_as_ever() -> None:
    assert Senders().owns("ann", "a@any.test")
