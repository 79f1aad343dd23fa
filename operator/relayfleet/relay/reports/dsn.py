"""A delivery status notification as a message: multipart/report (RFC 6522) with a delivery-status part (RFC 3464, RFC 6533). Pure.

The result is ready for a record: CRLF lines, dot-stuffed. The original comes in as it rests in its record, already stuffed, and goes in
as it is. Everything that a stranger wrote (a peer's text, ENVID, ORCPT) passes `_line`, so that it can neither begin a field of its own
nor smuggle a line end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate
from typing import Literal

from relayfleet.relay.spool.record import Recipient, Record

MOST_RETURNED_BYTES = 256 * 1024
"""RET=FULL returns the whole mail up to here, the headers of larger ones (RFC 3461 section 6.2 leaves that to us)."""
MOST_HEADER_BYTES = 64 * 1024

ReportAction = Literal["failed", "delayed", "relayed"]
_SUBJECTS: dict[ReportAction, str] = {
    "failed": "Undelivered mail",
    "delayed": "Delayed mail: still trying",
    "relayed": "Relayed mail: no confirmation to expect",
}
_LEADS: dict[ReportAction, str] = {
    "failed": "could not be delivered and will not be tried again",
    "delayed": "could not be delivered yet; it will be tried again, there is nothing you need to do",
    "relayed": "was passed on to a server that sends no delivery reports",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What is said of one recipient. `answer` is the peer's or our explanation; `code` 0: no reply of a peer stands behind it."""

    recipient: Recipient
    action: ReportAction
    status: str
    code: int
    answer: str
    remote_host: str = ""


def build(
    record: Record, entries: Sequence[Entry], report_id: str, reporting_mta: str, now: float, retry_until: float
) -> bytes:
    """The report on `record` to its sender. Times are Unix seconds."""
    action = min((entry.action for entry in entries), key=list(_SUBJECTS).index)
    utf8 = not all(each.isascii() for each in (record.sender, *(entry.recipient.address for entry in entries)))
    boundary = f"=_{report_id}"
    status_type = "message/global-delivery-status" if utf8 else "message/delivery-status"
    returned_type, returned = _returned(record, full=record.ret.upper() == "FULL" and action == "failed")
    head = (
        f"From: Mail Delivery System <MAILER-DAEMON@{reporting_mta}>",
        f"To: <{record.sender}>",
        f"Subject: {_SUBJECTS[action]}",
        f"Date: {formatdate(now)}",
        f"Message-ID: <{report_id}@{reporting_mta}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
        "",
        f"--{boundary}",
        *_encoding("text/plain; charset=utf-8", utf8),
        *_explanation(record, entries, reporting_mta, now),
        f"--{boundary}",
        *_encoding(status_type, utf8),
        *_fields(record, entries, reporting_mta, now, retry_until),
        f"--{boundary}",
        *_encoding(returned_type, not returned.isascii()),
    )
    text = "\r\n".join("." + line if line.startswith(".") else line for line in head)
    ours = text.encode() if utf8 else text.encode("ascii", "replace")
    return b"".join((ours, b"\r\n", returned, f"\r\n--{boundary}--\r\n".encode()))


def _returned(record: Record, full: bool) -> tuple[str, bytes]:
    kind = "global" if record.smtputf8 else "rfc822"
    if full and len(record.message) <= MOST_RETURNED_BYTES:
        return f"message/{kind}", record.message
    end = record.message.find(b"\r\n\r\n", 0, MOST_HEADER_BYTES)
    cut = end + 2 if end >= 0 else record.message.rfind(b"\r\n", 0, MOST_HEADER_BYTES) + 2
    headers = record.message[: max(cut, 0)]
    return ("message/global-headers" if record.smtputf8 else "text/rfc822-headers"), headers


def _encoding(content_type: str, eightbit: bool) -> tuple[str, ...]:
    return (f"Content-Type: {content_type}", f"Content-Transfer-Encoding: {'8bit' if eightbit else '7bit'}", "")


def _explanation(record: Record, entries: Sequence[Entry], reporting_mta: str, now: float) -> list[str]:
    lines = [f"This is the mail server {reporting_mta}.", ""]
    for action, lead in _LEADS.items():
        told = [entry for entry in entries if entry.action == action]
        if told:
            arrived = format_datetime(datetime.fromtimestamp(record.accepted_at, UTC))
            lines += [f"Your mail of {arrived} {lead} for:", ""]
            for entry in told:
                lines += [f"<{_line(entry.recipient.address)}>", f"    {_line(entry.answer)}", ""]
    return lines


def _fields(record: Record, entries: Sequence[Entry], reporting_mta: str, now: float, retry_until: float) -> list[str]:
    lines = [f"Reporting-MTA: dns; {reporting_mta}", f"Arrival-Date: {formatdate(record.accepted_at)}"]
    if record.envid:
        lines.append(f"Original-Envelope-Id: {_line(decode_xtext(record.envid))}")
    for entry in entries:
        lines += ["", *_recipient_fields(entry, now, retry_until)]
    return [*lines, ""]


def _recipient_fields(entry: Entry, now: float, retry_until: float) -> list[str]:
    lines = []
    if entry.recipient.orcpt:
        kind, _, address = entry.recipient.orcpt.partition(";")
        lines.append(f"Original-Recipient: {_line(kind)};{_line(decode_xtext(address))}")
    address = entry.recipient.address
    lines += [
        f"Final-Recipient: {'rfc822' if address.isascii() else 'utf-8'};{_line(address)}",
        f"Action: {entry.action}",
        f"Status: {entry.status}",
    ]
    if entry.remote_host:
        lines.append(f"Remote-MTA: dns; {_line(entry.remote_host)}")
    if entry.answer:
        lines.append(f"Diagnostic-Code: {'smtp' if entry.code else 'X-relayfleet'}; {_line(entry.answer)}")
    lines.append(f"Last-Attempt-Date: {formatdate(now)}")
    if entry.action == "delayed":
        lines.append(f"Will-Retry-Until: {formatdate(retry_until)}")
    return lines


def decode_xtext(text: str) -> str:
    """The text that ENVID or ORCPT stands for (RFC 3461 section 4)."""
    return re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)


def _line(text: str) -> str:
    """One line, whatever a stranger wrote."""
    return "".join(each if each.isprintable() else "?" for each in text)
