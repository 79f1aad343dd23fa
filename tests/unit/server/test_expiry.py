"""What a mail says on its own expiry: what is understood, what is passed over, and that nothing else of the mail changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.protocol.relay_config import Broker, RelayConfig
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay
from relayfleet.relay.server import expiry, trace
from relayfleet.relay.server.commands import Mail
from relayfleet.relay.server.transaction import Transaction
from relayfleet.relay.spool.record import Recipient
from relayfleet.relay.status import relay_metrics

NOW = 1_700_000_000.5


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("0", NOW),
        ("600", NOW + 600),
        ("999999999", NOW + 999_999_999),
        ("Tue, 14 Nov 2023 22:13:20 +0000", 1_700_000_000),
        ("Tue, 14 Nov 2023 23:13:20 +0100", 1_700_000_000),
        ("14 nov 2023 22:13 GMT", 1_699_999_980),
        ("Tue, 14 Nov 2023 22:13:20 -0000", 1_700_000_000),
        ("Tue, 14 Nov 2023 17:13:20 -0500 (EST)", 1_700_000_000),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 253402387139),
        ("Wed, 31 Dec 1969 23:00:00 +0000", 1.0),
    ],
)
def test_seconds_and_dates(value: str, at: float) -> None:
    assert expiry.moment(value, NOW) == at


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "1.5",
        "10m",
        "1000000000",
        "٣",
        "soon",
        "2023-11-14T22:13:20Z",
        "Tue, 14 Nov 2023 22:13:20",
        "Tue, 31 Feb 2023 22:13:20 +0000",
        "Tue, 14 Nov 2023 25:13:20 +0000",
        "Tue, 14 Nov 2023 22:13:20 +9999",
        "Tue, 14 Nov 2023 22:13:20 PST8",
        "Tue, 14 Nov 0000 22:13:20 +0000",
        "Tue, 14 Nov 23 22:13:20 +0000",
    ],
)
def test_what_cannot_be_read(value: str) -> None:
    assert expiry.moment(value, NOW) is None


@given(st.text(max_size=80))
def test_nothing_that_a_stranger_writes_is_a_fault(value: str) -> None:
    expiry.moment(value, NOW)


@pytest.mark.parametrize(
    ("message", "left", "values"),
    [
        (b"A: b\r\nRelayfleet-Expires: 60\r\nC: d\r\n\r\nhi\r\n", b"A: b\r\nC: d\r\n\r\nhi\r\n", ("60",)),
        (b"relayfleet-EXPIRES :60\r\n\r\nhi\r\n", b"\r\nhi\r\n", ("60",)),
        (
            b"A: b\r\nRelayfleet-Expires: Tue,\r\n 14 Nov\r\n\t2023\r\nC: d\r\n e\r\n\r\n",
            b"A: b\r\nC: d\r\n e\r\n\r\n",
            ("Tue, 14 Nov 2023",),
        ),
        (b"Relayfleet-Expires: 1\r\nA: b\r\nRelayfleet-Expires: \xff\r\n\r\n", b"A: b\r\n\r\n", ("1", "\ufffd")),
        (b"A: b\r\nRelayfleet-Expires: 60\r\n", b"A: b\r\n", ("60",)),
        (b"A: b\r\n\r\nRelayfleet-Expires: 60\r\n", b"A: b\r\n\r\nRelayfleet-Expires: 60\r\n", ()),
        (b"A: b\r\n Relayfleet-Expires: 60\r\n\r\n", b"A: b\r\n Relayfleet-Expires: 60\r\n\r\n", ()),
        (b"X-Relayfleet-Expires: 60\r\n\r\n", b"X-Relayfleet-Expires: 60\r\n\r\n", ()),
        (b"Expires: 60\r\n\r\n", b"Expires: 60\r\n\r\n", ()),
    ],
)
def test_the_field_is_taken_out_and_nothing_else(message: bytes, left: bytes, values: tuple[str, ...]) -> None:
    assert expiry.cut(message) == (left, values)


def test_a_head_without_an_end_stays_as_it_is() -> None:
    message = b"A: b\r\n" * 50_000 + b"Relayfleet-Expires: 1\r\n"
    assert len(message) > trace.HEAD_LIMIT
    assert expiry.cut(message) == (message, ())


def made(message: bytes) -> tuple[Transaction, float, bytes]:
    transaction = Transaction(Mail("s@b.example"), [Recipient("a@b.example")])
    record = transaction.record(message, trace.Hop("client", None, "relay.example", "ESMTP"), "")
    return transaction, record.expires_at - record.accepted_at if record.expires_at else 0.0, record.message


def test_a_record_knows_when_it_expires_and_its_message_does_not() -> None:
    transaction, life, message = made(b"Date: x\r\nRelayfleet-Expires: 60\r\nRelayfleet-Expires: 30\r\n\r\nhi\r\n")
    assert life == pytest.approx(30, abs=1e-3)
    assert transaction.wishes == ("60", "30")
    assert message.endswith(b"\r\nDate: x\r\n\r\nhi\r\n")
    assert b"Expires" not in message


def test_of_several_values_those_that_can_be_read_count() -> None:
    assert made(b"Relayfleet-Expires: soon\r\nRelayfleet-Expires: 30\r\n\r\n")[1] == pytest.approx(30, abs=1e-3)
    transaction, life, message = made(b"Relayfleet-Expires: soon\r\nSubject: x\r\n\r\nhi\r\n")
    assert (life, transaction.wishes) == (0.0, ("soon",))
    assert message.endswith(b"Subject: x\r\n\r\nhi\r\n")
    assert b"soon" not in message


def test_text_that_only_looks_like_a_head_says_nothing() -> None:
    transaction, life, message = made(b"hello\r\nRelayfleet-Expires: 30\r\n\r\nhi\r\n")
    assert (life, transaction.wishes) == (0.0, ())
    assert message.endswith(b"\r\n\r\nhello\r\nRelayfleet-Expires: 30\r\n\r\nhi\r\n")


def test_a_mail_that_was_8bit_only_there_is_not_any_more() -> None:
    transaction = Transaction(Mail("s@b.example", smtputf8=True), [Recipient("a@b.example")])
    record = transaction.record(b"Relayfleet-Expires: \xc3\xa4\r\n\r\nhi\r\n", trace.Hop("c", None, "r", "ESMTP"), "")
    assert (record.body_8bit, record.smtputf8) == (False, False)


async def test_what_became_of_it_is_in_the_metrics(tmp_path: Path) -> None:
    relay = Relay(RelayConfig("test/pool", "eu", Broker(()), ()), Files(tmp_path), "relay")
    for taken in (True, False, True):
        relay.server.counters.expiry(taken=taken)
    metrics = {each.name: each for each in relay_metrics(relay.server, relay.delivery, relay.spool)}
    found = {each.labels["result"]: each.value for each in metrics["relayfleet_relay_expires"].samples}
    assert found == {"Taken": 2, "Ignored": 1}
