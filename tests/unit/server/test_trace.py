"""What is put before a message."""

from __future__ import annotations

import ipaddress

import pytest

from relayfleet.relay.server import replies, trace
from relayfleet.relay.server.commands import Mail
from relayfleet.relay.server.replies import Refused
from relayfleet.relay.server.transaction import Transaction
from relayfleet.relay.spool.record import Recipient, Record

HOP = trace.Hop("client.example", ipaddress.ip_address("192.0.2.1"), "relay.example", "ESMTPSA")
NOW = 1_700_000_000.9
DATE = "Tue, 14 Nov 2023 22:13:20 +0000"


def prefix(message: bytes, hop: trace.Hop = HOP, recipient: str | None = "a@b.example") -> str:
    return trace.prefix(hop, trace.inspect(message), "ID", recipient, NOW).decode()


def test_a_complete_message_gets_one_received_header() -> None:
    assert prefix(b"Date: x\r\nMessage-ID: <x@y>\r\n\r\nhi\r\n") == (
        "Received: from client.example ([192.0.2.1])\r\n\tby relay.example with ESMTPSA id ID\r\n\tfor <a@b.example>;\r\n"
        f"\t{DATE}\r\n"
    )


def test_several_recipients_are_not_told_to_each_other() -> None:
    assert "for <" not in prefix(b"Date: x\r\n\r\n", recipient=None)


@pytest.mark.parametrize(
    ("client", "shown"),
    [(ipaddress.ip_address("2001:db8::1"), "([IPv6:2001:db8::1])"), (None, "(unknown)")],
)
def test_the_client_is_shown_as_an_address_literal(client: ipaddress.IPv6Address | None, shown: str) -> None:
    assert shown in prefix(b"\r\n", trace.Hop("x", client, "y", "SMTP"))


ADDED = {
    b"Subject: x\r\n\r\nDate: in the body\r\n": (True, True),
    b"dAtE: x\r\nSubject: y\r\n\r\n": (False, True),
    b"Subject: y\r\nMESSAGE-id : <x>\r\n\r\n": (True, False),
    b"Subject: y\r\n date: folded\r\n\r\n": (True, True),
    b"X-Date: x\r\nResent-Message-ID: <y>\r\n\r\n": (True, True),
}


@pytest.mark.parametrize(("message", "added"), ADDED.items(), ids=map(repr, ADDED))
def test_date_and_message_id_are_added_where_they_lack(message: bytes, added: tuple[bool, bool]) -> None:
    text = prefix(message)
    assert (f"\r\nDate: {DATE}\r\n" in text, "\r\nMessage-ID: <ID@relay.example>\r\n" in text) == added


def test_text_without_headers_does_not_become_a_header() -> None:
    assert prefix(b"hello\r\nDate: x\r\n").endswith("\r\n\r\n")
    assert not prefix(b"\r\nhello\r\n").endswith("\r\n\r\n")
    assert not prefix(b"").endswith("\r\n\r\n")


def test_a_message_without_end_of_headers_is_looked_at_only_so_far() -> None:
    assert "\r\nDate: " in prefix(b"Subject: x\r\n" + b"X: y\r\n" * 100_000 + b"Date: far away\r\n")


def record(message: bytes, smtputf8: bool = False, sender: str = "s@b.example") -> Record:
    transaction = Transaction(Mail(sender, smtputf8=smtputf8, ret="HDRS", envid="e"), [Recipient("a@b.example")])
    return transaction.record(message, HOP, "ann")


def test_a_record_carries_the_envelope_and_who_sent_it() -> None:
    made = record(b"Date: x\r\n\r\nhi\r\n")
    assert (made.sender, made.recipients, made.credential, made.client) == (
        "s@b.example",
        (Recipient("a@b.example"),),
        "ann",
        "192.0.2.1",
    )
    assert (made.ret, made.envid, made.attempt) == ("HDRS", "e", 0)
    assert made.id.encode() in made.message
    assert made.message.endswith(b"Date: x\r\n\r\nhi\r\n")


def test_a_record_asks_the_next_server_for_no_more_than_the_mail_needs() -> None:
    plain, wide_body, wide_head = b"A: b\r\n\r\nhi\r\n", b"A: b\r\n\r\nh\xc3\xa4\r\n", b"A: \xc3\xa4\r\n\r\nhi\r\n"
    assert [record(each, smtputf8=True).smtputf8 for each in (plain, wide_body, wide_head)] == [False, False, True]
    assert [record(each).body_8bit for each in (plain, wide_body, wide_head)] == [False, True, True]
    assert record(plain, smtputf8=True, sender="ä@b.example").smtputf8


def test_a_mail_that_loops_is_refused() -> None:
    assert record(b"Received: x\r\n" * trace.MAX_HOPS + b"\r\n")
    with pytest.raises(Refused) as caught:
        record(b"received: x\r\n" * (trace.MAX_HOPS + 1) + b"\r\n")
    assert caught.value.reply is replies.TOO_MANY_HOPS


AUTHORS = {
    "one": (b"From: a@b\r\nSubject: x\r\n\r\nFrom: c@d\r\n", True),
    "none": (b"Subject: x\r\n\r\nhi\r\n", True),
    "two": (b"From: a@b\r\nSubject: x\r\nfrom: c@d\r\n\r\nhi\r\n", False),
    "two, with blanks before the colon": (b"From : a@b\r\nFROM\t: c@d\r\n\r\nhi\r\n", False),
    "one that is folded": (b"From: a@b,\r\n from: c@d\r\n\r\nhi\r\n", True),
    "fields of other names": (b"From: a@b\r\nX-From: c@d\r\nResent-From: e@f\r\n\r\nhi\r\n", True),
    "text that only looks like a head": (b"hello\r\nFrom: a@b\r\nFrom: c@d\r\n\r\nhi\r\n", True),
}


@pytest.mark.parametrize("case", AUTHORS)
def test_a_mail_of_several_authors_is_refused(case: str) -> None:
    message, taken = AUTHORS[case]
    if taken:
        assert record(message).message.endswith(message)
        return
    with pytest.raises(Refused) as caught:
        record(message)
    assert caught.value.reply is replies.SEVERAL_AUTHORS


def test_the_protocol_word_says_how_it_came() -> None:
    def word(extended: bool, secure: bool, authenticated: bool, smtputf8: bool = False) -> str:
        return trace.protocol(extended=extended, secure=secure, authenticated=authenticated, smtputf8=smtputf8)

    assert word(False, False, False) == "SMTP"
    assert word(True, False, False) == "ESMTP"
    assert word(True, True, False) == "ESMTPS"
    assert word(True, True, True) == "ESMTPSA"
    assert word(True, True, True, smtputf8=True) == "UTF8SMTPSA"
