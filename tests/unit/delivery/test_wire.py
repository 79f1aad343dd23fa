"""Replies in, safe bytes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.delivery.wire import (
    MOST_LINE_BYTES,
    MOST_LINES,
    Peer,
    ReplyError,
    ReplyParser,
    parse_ehlo,
    safe_address,
    safe_body,
)
from relayfleet.relay.replies.reply import Reply

REPLIES = {
    "one line": (b"250 ok\r\n", [Reply(250, ("ok",))]),
    "a bare code": (b"250\r\n", [Reply(250, ("",))]),
    "several lines": (b"250-a\r\n250-b\r\n250 c\r\n", [Reply(250, ("a", "b", "c"))]),
    "differing codes: the last counts": (b"550-a\r\n450 b\r\n", [Reply(450, ("a", "b"))]),
    "two replies": (b"250 a\r\n354 b\r\n", [Reply(250, ("a",)), Reply(354, ("b",))]),
    "line ends without CR": (b"250 a\n", [Reply(250, ("a",))]),
    "control characters are made harmless": (b"550 a\x1b[2J\tb\r\n", [Reply(550, ("a?[2J?b",))]),
    "text that is no UTF-8": (b"550 \xff\r\n", [Reply(550, ("\ufffd",))]),
    "an unfinished reply": (b"250-a\r\n250 b", []),
}


@pytest.mark.parametrize("case", REPLIES)
def test_replies(case: str) -> None:
    data, expected = REPLIES[case]
    assert ReplyParser().feed(data) == expected


@given(cuts=st.lists(st.integers(0, 40), max_size=8))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int]) -> None:
    data = b"250-one\r\n250-two\r\n250 three\r\n550 5.1.1 no\r\n354 go\r\n"
    parser, replies, start = ReplyParser(), [], 0
    for end in [*sorted(cuts), len(data)]:
        replies += parser.feed(data[start:end])
        start = max(start, end)
    assert replies == ReplyParser().feed(data)
    assert parser.idle


GARBAGE = {
    "no digits": b"hello\r\n",
    "an empty line": b"\r\n",
    "two digits": b"25 ok\r\n",
    "a code of 100": b"100 trying\r\n",
    "a code of 600": b"600 what\r\n",
    "no space after the code": b"250ok\r\n",
    "digits of another script": "٢٥٠ ok\r\n".encode(),
    "TLS bytes": b"\x15\x03\x01\x00\x02\x02\x28\r\n",
    "an endless line": b"250 " + b"x" * MOST_LINE_BYTES,
    "an endless line with an end": b"250 " + b"x" * MOST_LINE_BYTES + b"\r\n",
    "an endless reply": b"250-x\r\n" * (MOST_LINES + 1),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_is_refused(case: str) -> None:
    with pytest.raises(ReplyError):
        ReplyParser().feed(GARBAGE[case])


@given(st.binary(max_size=300))
def test_any_bytes_give_replies_or_an_error(data: bytes) -> None:
    try:
        replies = ReplyParser().feed(data)
    except ReplyError:
        return
    assert all(200 <= each.code < 600 and each.text.isprintable() for each in replies)


STATUSES = {
    "5.1.1 no such user": "5.1.1",
    "<b@x> 4.2.2 full": "4.2.2",
    "sorry (#5.7.1)": "5.7.1",
    "from 5.1.1.1 refused": "",
    "version 14.5.1.1": "",
    "listed: 192.5.1.1": "",
    "5.7.606 banned": "5.7.606",
    "no status": "",
    "1.2.3 is none": "",
}


@pytest.mark.parametrize("text", STATUSES)
def test_the_enhanced_status_is_found_anywhere(text: str) -> None:
    assert Reply(550, (text,)).status == STATUSES[text]


def test_a_status_in_the_second_line_is_found() -> None:
    assert Reply(550, ("mx.test", "5.7.1 no")).status == "5.7.1"


EHLOS = {
    "nothing": ((), Peer()),
    "all we know": (
        ("PIPELINING", "STARTTLS", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 1000", "LIMITS RCPTMAX=20 MAILMAX=5"),
        Peer(True, True, True, True, True, True, 1000, 20, 5),
    ),
    "lower case": (("pipelining", "size 5"), Peer(pipelining=True, size_offered=True, size=5)),
    "a limit of domains is one of mails": (("LIMITS RCPTDOMAINMAX=3",), Peer(most_mails=3)),
    "the smaller of both holds": (("LIMITS MAILMAX=9 RCPTDOMAINMAX=3",), Peer(most_mails=3)),
    "limits that are none": (("LIMITS MAILMAX=x RCPTMAX RCPTDOMAINMAX=-1 OTHER=7",), Peer()),
    "SIZE without a number": (("SIZE",), Peer(size_offered=True)),
    "SIZE with a lie": (("SIZE -1",), Peer(size_offered=True)),
    "SIZE of too many digits": (("SIZE " + "9" * 30,), Peer(size_offered=True)),
    "an empty line": (("", "DSN"), Peer(dsn=True)),
}


@pytest.mark.parametrize("case", EHLOS)
def test_what_a_peer_offers(case: str) -> None:
    lines, expected = EHLOS[case]
    assert parse_ehlo(("peer.test greets", *lines)) == expected


ADDRESSES = {
    "": True,
    "a@b.test": True,
    "ü@b.test": True,
    '"a b"@c.test': True,
    '"a\\"b"@c.test': True,
    "a@b.test>\r\nRCPT TO:<c@d.test": False,
    "a\n@b.test": False,
    "a@b.test ": False,
    "a@b.test>": False,
    '"a "b"@c.test': False,
    '"a\r\nb"@c.test': False,
    '"a> BODY=X"@c.test>': False,
    "a\x00@b.test": False,
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_that_can_be_written(address: str) -> None:
    assert safe_address(address) is ADDRESSES[address]


BODIES = {
    b"a\r\n": True,
    b"a\r\n..\r\n": True,
    b"\r\n": True,
    b"": False,
    b"a": False,
    b"a\n": False,
    b"a\r": False,
    b"a\r\nb\nc\r\n": False,
    b"a\rb\r\n": False,
    b"a\r\n.\r\n": False,
    b".\r\nb\r\n": False,
    b"a\r\n.\nb\r\n": False,
    b"a\r\r\n": False,
}


@pytest.mark.parametrize("body", BODIES)
def test_bodies_that_can_be_sent(body: bytes) -> None:
    assert safe_body(body) is BODIES[body]
