"""Reports, read with a parser that this project did not write."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from email.message import EmailMessage, Message

import pytest

from relayfleet.relay.delivery.wire import safe_body
from relayfleet.relay.reports.dsn import MOST_RETURNED_BYTES, Entry
from relayfleet.relay.reports.notify import DELAY_SECONDS, delay_is_due, report, report_id
from relayfleet.relay.spool.record import Recipient, Record

MESSAGE = b"From: a@sender.test\r\nSubject: hello\r\nX: 1\r\n\r\n..dotted\r\nbody text\r\n"
RECORD = Record("01M86QQ6FBVNZW6T7R8H0Z5F9V", "a@sender.test", (Recipient("b@one.test"),), MESSAGE, accepted_at=1.7e9)
FAILED = Entry(Recipient("b@one.test"), "failed", "5.1.1", 550, "550 5.1.1 no such user", "mx.one.test")


def parse(record: Record | None) -> EmailMessage:
    assert record is not None
    assert safe_body(record.message)
    message = email.message_from_bytes(record.message.replace(b"\r\n..", b"\r\n."), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def make(record: Record = RECORD, *entries: Entry) -> Record | None:
    return report(record, entries or (FAILED,), "relay.test", now=1.7e9 + 60, lifetime=432000)


def fields(message: EmailMessage) -> list[dict[str, str]]:
    """The groups of the delivery-status part."""
    part = message.get_payload(1)
    assert isinstance(part, EmailMessage)
    assert part.get_content_type() == "message/delivery-status"
    payload = part.get_payload()
    assert isinstance(payload, list)
    return [dict(group.items()) for group in payload if isinstance(group, Message)]


def test_the_envelope_of_a_report() -> None:
    made = make()
    assert made is not None
    assert made.sender == ""
    assert made.recipients == (Recipient("a@sender.test", "NEVER"),)
    assert (made.attempt, made.body_8bit, made.smtputf8) == (0, False, False)
    assert made.accepted_at == 1.7e9 + 60


def test_a_failure_says_who_why_and_where() -> None:
    message = parse(make())
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["To"] == "a@sender.test"
    assert "relay.test" in message["Message-ID"]
    about, recipient = fields(message)
    assert about["Reporting-MTA"] == "dns; relay.test"
    assert about["Arrival-Date"] == "Tue, 14 Nov 2023 22:13:20 -0000"
    assert recipient["Final-Recipient"] == "rfc822;b@one.test"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert recipient["Remote-MTA"] == "dns; mx.one.test"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user"
    assert recipient["Last-Attempt-Date"] == "Tue, 14 Nov 2023 22:14:20 -0000"
    first = message.get_payload(0)
    assert isinstance(first, EmailMessage)
    assert "b@one.test" in first.get_content()
    assert "no such user" in first.get_content()


def test_headers_come_back_by_default() -> None:
    part = parse(make()).get_payload(2)
    assert isinstance(part, EmailMessage)
    assert part.get_content_type() == "text/rfc822-headers"
    assert part.get_content().splitlines() == ["From: a@sender.test", "Subject: hello", "X: 1"]


def test_the_whole_mail_comes_back_when_asked_for() -> None:
    part = parse(make(replace(RECORD, ret="FULL"))).get_payload(2)
    assert isinstance(part, EmailMessage)
    assert part.get_content_type() == "message/rfc822"
    inner = part.get_content()
    assert inner["Subject"] == "hello"
    assert inner.get_content().splitlines() == [".dotted", "body text"]


RETURNS_HEADERS = {
    "RET=HDRS": (replace(RECORD, ret="HDRS"), FAILED),
    "a mail too large to return": (
        replace(RECORD, ret="FULL", message=MESSAGE + b"x\r\n" * MOST_RETURNED_BYTES),
        FAILED,
    ),
    "RET=FULL does not hold for a delay": (
        replace(RECORD, ret="FULL"),
        replace(FAILED, action="delayed", recipient=Recipient("b@one.test", "DELAY")),
    ),
}


@pytest.mark.parametrize("case", RETURNS_HEADERS)
def test_only_headers_come_back(case: str) -> None:
    record, entry = RETURNS_HEADERS[case]
    part = parse(make(record, entry)).get_payload(2)
    assert isinstance(part, EmailMessage)
    assert part.get_content_type() == "text/rfc822-headers"


def test_envid_and_orcpt_come_back_decoded() -> None:
    entry = replace(FAILED, recipient=Recipient("b@one.test", "", "rfc822;b+2Bx@old.test"))
    about, recipient = fields(parse(make(replace(RECORD, envid="QQ+2D1"), entry)))
    assert about["Original-Envelope-Id"] == "QQ-1"
    assert recipient["Original-Recipient"] == "rfc822;b+x@old.test"


def test_strangers_cannot_write_fields_of_their_own() -> None:
    entry = replace(
        FAILED,
        recipient=Recipient("b@one.test", "", "rfc822;x+0D+0AAction: delivered"),
        answer="550 no\r\n\r\nFinal-Recipient: rfc822;evil@x",
        remote_host="mx\r\nStatus: 2.0.0",
    )
    groups = fields(parse(make(replace(RECORD, envid="a+0D+0AX-Evil: 1"), entry)))
    assert len(groups) == 2
    assert groups[1]["Action"] == "failed"
    assert groups[1]["Status"] == "5.1.1"
    assert not any("X-Evil" in group for group in groups)


def test_a_delay_says_until_when_it_will_be_tried() -> None:
    entry = replace(FAILED, action="delayed", status="4.4.1", code=0, recipient=Recipient("b@one.test", "DELAY"))
    message = parse(make(RECORD, entry))
    _, recipient = fields(message)
    assert recipient["Action"] == "delayed"
    assert recipient["Will-Retry-Until"] == "Sun, 19 Nov 2023 22:13:20 -0000"
    assert recipient["Diagnostic-Code"].startswith("X-relayfleet; ")
    assert "Delayed" in message["Subject"]


def test_one_report_tells_of_all_recipients() -> None:
    others = [replace(FAILED, recipient=Recipient(f"{name}@one.test")) for name in "cde"]
    assert len(fields(parse(make(RECORD, FAILED, *others)))) == 5


def test_non_ascii_addresses_make_an_international_report() -> None:
    record = replace(RECORD, sender="ä@sender.test", smtputf8=True)
    made = make(record, replace(FAILED, recipient=Recipient("bü@one.test")))
    assert made is not None
    assert made.smtputf8
    assert made.body_8bit
    assert b"message/global-delivery-status" in made.message
    assert "Final-Recipient: utf-8;bü@one.test".encode() in made.message
    assert b"message/global-headers" in made.message


def test_a_non_ascii_answer_does_not_make_an_ascii_report_international() -> None:
    made = make(RECORD, replace(FAILED, answer="550 Empfänger unbekannt"))
    assert made is not None
    assert made.message.isascii()


def test_an_eight_bit_mail_returned_makes_an_eight_bit_report() -> None:
    made = make(replace(RECORD, ret="FULL", body_8bit=True, message=MESSAGE + "grüße\r\n".encode()))
    assert made is not None
    assert made.body_8bit
    assert not made.smtputf8


def test_a_message_without_end_of_headers_is_returned_to_a_line_end() -> None:
    made = make(replace(RECORD, message=b"X: " + b"y" * 70 + b"\r\n"))
    assert made is not None
    assert safe_body(made.message)


WANTS = {
    ("", "failed"): True,
    ("", "delayed"): False,
    ("", "relayed"): False,
    ("FAILURE", "failed"): True,
    ("NEVER", "failed"): False,
    ("NEVER", "delayed"): False,
    ("SUCCESS", "failed"): False,
    ("SUCCESS", "relayed"): True,
    ("SUCCESS,FAILURE", "failed"): True,
    ("failure,delay", "delayed"): True,
    ("DELAY", "failed"): False,
}


@pytest.mark.parametrize(("notify", "action"), WANTS)
def test_notify_decides(notify: str, action: str) -> None:
    entry = replace(FAILED, action=action, recipient=Recipient("b@one.test", notify))  # type: ignore[arg-type]
    assert (make(RECORD, entry) is not None) is WANTS[notify, action]


def test_there_is_never_a_report_about_a_report() -> None:
    assert make(replace(RECORD, sender="")) is None


def test_the_same_report_written_twice_is_one_mail() -> None:
    one, two = make(), make()
    assert one is not None
    assert two is not None
    assert one.id == two.id == report_id(RECORD, [FAILED])
    assert len(one.id) == 26
    assert report_id(replace(RECORD, attempt=1), [FAILED]) != one.id


OTHER = replace(FAILED, recipient=Recipient("c@two.test"))
TOLD = {
    "they failed in another order": ((OTHER, FAILED), (FAILED, OTHER), True),
    "another server said it, in other words": ((FAILED,), (replace(FAILED, answer="550 no", remote_host="mx2"),), True),
    "the other has somebody who wants no report": (
        (FAILED,),
        (FAILED, replace(OTHER, recipient=Recipient("c@two.test", "NEVER"))),
        True,
    ),
    "they parted the recipients": ((FAILED,), (OTHER,), False),
    "one has some that the other has not": ((FAILED,), (FAILED, OTHER), False),
    "one says failed and the other relayed": (
        (replace(FAILED, recipient=Recipient("b@one.test", "FAILURE,SUCCESS")),),
        (replace(FAILED, action="relayed", recipient=Recipient("b@one.test", "FAILURE,SUCCESS")),),
        False,
    ),
}


@pytest.mark.parametrize("sentence", TOLD)
def test_reports_of_two_copies_are_one_mail_when_they_tell_the_same_of_the_same_recipients(sentence: str) -> None:
    """Under one name the second would be dropped as a copy of the first, and nobody be told of its recipients."""
    first, second, same = TOLD[sentence]
    one, two = make(RECORD, *first), make(RECORD, *second)
    assert one is not None
    assert two is not None
    assert (one.id == two.id) is same


def test_a_delay_is_told_in_exactly_one_attempt() -> None:
    record, told = replace(RECORD, next_at=0.0), 0
    for wait in (60, 3600, 7200, 7200, 14400, 14400):
        now = max(record.next_at, record.accepted_at)
        told += delay_is_due(record, now + wait)
        record = replace(record, next_at=now + wait)
    assert told == 1
    assert record.next_at - record.accepted_at > DELAY_SECONDS
