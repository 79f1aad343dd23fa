"""Mailboxes: the syntax and limits of RFC 5321."""

from __future__ import annotations

import time

import pytest

from relayfleet.relay.server.addresses import is_host, is_mailbox

GOOD = [
    "a@b",
    "first.last+tag@mail.example.com",
    "!#$%&'*+-/=?^_`{|}~@example.com",
    '"two words"@example.com',
    '"a\\"b@c"@example.com',
    '""@example.com',
    "a@[127.0.0.1]",
    "a@[IPv6:::1]",
    "a@xn--bcher-kva.example",
    "пример@пример.рф",
    f"{'l' * 64}@example.com",
    f"a@{'d' * 63}.example",
]
BAD = [
    "",
    "a",
    "@b",
    "a@",
    ".a@b",
    "a.@b",
    "a..b@c",
    "a b@c",
    "a@b c",
    "a@-b",
    "a@b-",
    "a@b..c",
    "a@b.",
    "a@b_c",
    '"a@b',
    'a"b"@c',
    "a@[300.1.1.1]",
    "a@[::1]",
    "a@[IPv6:fe80::1%eth0]",
    "a@[x:y]",
    "a@[]",
    "<a@b>",
    "a@b,c@d",
    f"{'l' * 65}@example.com",
    f"{'ä' * 33}@example.com",
    f"a@{'d' * 64}.example",
    f"a@{'.'.join(['d' * 60] * 5)}",
]


@pytest.mark.parametrize("text", GOOD)
def test_it_is_a_mailbox(text: str) -> None:
    assert is_mailbox(text)


@pytest.mark.parametrize("text", BAD)
def test_it_is_no_mailbox(text: str) -> None:
    assert not is_mailbox(text)


@pytest.mark.parametrize(
    "text", ["a" * 2000, "a." * 1000, '"' + "\\a" * 1000, "a@" + "b-" * 1000, "a@" + ("b" * 63 + ".") * 30 + "-"]
)
def test_no_text_makes_the_pattern_slow(text: str) -> None:
    began = time.process_time()
    assert not is_mailbox(text)
    # Not a benchmark: a pattern that backtracks would take longer than the age of the universe.
    assert time.process_time() - began < 5


def test_host_names_are_taken_as_clients_write_them() -> None:
    for name in ("mail.example.com", "my_pc", "[192.0.2.1]", "[IPv6:2001:db8::1]", "localhost"):
        assert is_host(name)
    for name in ("", "a b", "a\tb", "<x>", "a(b)", "x" * 256, "ä.example"):
        assert not is_host(name)
