"""Who is told what: the recipients' NOTIFY (RFC 3461) decides, and there is never a report about a report. Pure.

    NOTIFY              failed   delayed            relayed (to a server without DSN)
    not given           report   -                  -
    FAILURE             report   -                  -
    DELAY               -        once, see below    -
    SUCCESS             -        -                  report
    NEVER               -        -                  -

A delay is told once: in the attempt whose next try is planned past `DELAY_SECONDS`, while this one was planned before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from relayfleet.relay.reports.dsn import Entry, build
from relayfleet.relay.spool.record import Recipient, Record

DELAY_SECONDS = 4 * 3600.0
_WORDS = {"failed": "FAILURE", "delayed": "DELAY", "relayed": "SUCCESS"}
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def wants(entry: Entry) -> bool:
    """True when the sender asked to be told of this."""
    notify = entry.recipient.notify.upper()
    return _WORDS[entry.action] in notify.split(",") if notify else entry.action == "failed"


def delay_is_due(record: Record, next_at: float) -> bool:
    """True in exactly one attempt of a mail that takes too long."""
    threshold = record.accepted_at + DELAY_SECONDS
    return max(record.next_at, record.accepted_at) < threshold <= next_at


def delay_is_owed(record: Record, now: float) -> bool:
    """True when somebody asked to be told of a delay, and that was due since the last attempt: the next one tells of it, however it ends."""
    asked = any("DELAY" in each.notify.upper().split(",") for each in record.recipients)
    return asked and bool(record.sender) and delay_is_due(record, now)


def report(record: Record, entries: Sequence[Entry], reporting_mta: str, now: float, lifetime: float) -> Record | None:
    """The report as a new record with null reverse-path; None when nobody is to be told, or the mail is itself a report."""
    told = [entry for entry in entries if wants(entry)]
    if not told or not record.sender:
        return None
    name = report_id(record, told)
    message = build(record, told, name, reporting_mta, now, record.accepted_at + lifetime)
    utf8 = (
        not record.sender.isascii() or not all(entry.recipient.address.isascii() for entry in told) or record.smtputf8
    )
    return Record(
        id=name,
        sender="",
        recipients=(Recipient(record.sender, "NEVER"),),
        message=message,
        accepted_at=now,
        body_8bit=not message.isascii(),
        smtputf8=utf8 and not message.isascii(),
        credential=record.credential,
    )


def report_id(record: Record, told: Sequence[Entry]) -> str:
    """A name that follows from the record's and from what is told of whom: the same report written twice, by two relays, is one mail and can be
    known as such. Copies of one record may part its recipients differently; their reports are different mails, of which none may be dropped."""
    words = sorted(f"{entry.action} {entry.recipient.address}" for entry in told)
    name = "\n".join((f"report {record.key}", *words))
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:10], "big")
    return record.id[:10] + "".join(_CROCKFORD[number >> shift & 31] for shift in range(75, -1, -5))
