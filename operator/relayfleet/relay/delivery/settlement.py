"""What becomes of a record after an attempt. Pure: outcomes in, successors out.

outcome                          the recipient
delivered                        is done (relayed report when asked for)
permanent                        goes into the bounce report
transient, and life is over      goes into the bounce report
transient                        goes on in the one successor, after the backoff
uncertain                        goes on in the one successor, after ten minutes at least
uncertain, by the journal        goes on in the one successor, after ten minutes: by then it says what came of it, and does not say so for ever
transient, and life is over, but
  it was held until now          goes on once more, after `retry.first` at least: its first attempt after that may have been none
held                             goes on in a successor of its own, however old it is: nothing is said to anybody
purged                           is done, and nobody is told
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from relayfleet.protocol.relay_config import Retry
from relayfleet.relay.delivery.judging import EXPIRED_STATUS, GREYLISTED, OPEN_CLAIM
from relayfleet.relay.delivery.outcome import Fate, Outcome
from relayfleet.relay.reports import notify
from relayfleet.relay.reports.dsn import Entry, ReportAction
from relayfleet.relay.retry.backoff import UNCERTAIN_SECONDS, expired, hold_delay, next_delay, shortened
from relayfleet.relay.spool.interface import Successor
from relayfleet.relay.spool.record import Recipient, Record

_UNFINISHED = (Fate.TRANSIENT, Fate.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the queue is told, and for the counters: recipients that failed for good, and whether a report was due to nobody."""

    successors: tuple[Successor, ...]
    failed: int = 0
    deferred: int = 0
    unreportable: bool = False


def decide(
    record: Record,
    outcomes: Sequence[Outcome],
    now: float,
    retry: Retry,
    random: float,
    reporting_mta: str,
    *,
    owned: bool = True,
) -> Settlement:
    """The successors of `record`. `now` is Unix time, `random` in [0, 1). Not `owned`: its sender is somebody else's than of the credential that
    sent it, and is told nothing."""
    retry = shortened(retry, record.accepted_at, record.expires_at)
    age = max(now - record.accepted_at, 0.0)
    # Who is released too old was promised a try, and this was none if the destination was busy, a key was missing or the peer greylists.
    over = expired(retry, age) and not record.is_held
    deferred = [each for each in outcomes if each.fate in _UNFINISHED and not over]
    failed = [each for each in outcomes if each.fate is Fate.PERMANENT or (each.fate in _UNFINISHED and over)]
    entries = [_entry(each, "failed", over) for each in failed]
    entries += [_entry(each, "relayed", over) for each in outcomes if each.relayed]
    successors = []
    if deferred:
        delay = next_delay(retry, record.attempt - record.holds[0], random, age)
        later = _later(record, deferred, now, max(delay, retry.first) if expired(retry, age) else delay)
        successors.append(later)
        if notify.delay_is_due(record, later.record.next_at):
            entries += [_entry(each, "delayed", over) for each in deferred]
    if held := [each.recipient for each in outcomes if each.fate is Fate.HELD]:
        successors.append(_held(record, held, now))
    report = notify.report(record, entries, reporting_mta, now, retry.lifetime) if owned else None
    if report is not None:
        successors.append(Successor(report))
    return Settlement(
        tuple(successors), len(failed), len(deferred), unreportable=bool(failed) and not (record.sender and owned)
    )


def _later(record: Record, deferred: Sequence[Outcome], now: float, delay: float) -> Successor:
    earliest = 0.0
    if any(each.fate is Fate.UNCERTAIN for each in deferred):
        claimed = any(each.verdict == OPEN_CLAIM for each in deferred)
        delay = UNCERTAIN_SECONDS if claimed else max(delay, UNCERTAIN_SECONDS)
        earliest = now + UNCERTAIN_SECONDS
    # The peer that greylisted waits for the same address; any other mail may leave from the next one.
    kept = (each.place.source for each in deferred if each.verdict is not None and each.verdict.reason == GREYLISTED)
    successor = dataclasses.replace(
        record,
        recipients=tuple(each.recipient for each in deferred),
        attempt=record.attempt + 1,
        part=record.part_after(held=False),
        last_answer=deferred[0].answer,
        last_source=next(kept, ""),
        next_at=now + delay,
        deferred_at=now,
        earliest_at=earliest,
    )
    return Successor(successor, delay)


def _held(record: Record, recipients: Sequence[Recipient], now: float) -> Successor:
    """As it was: when it is released it goes on with its last answer, from the address that a greylisting peer waits for."""
    _, in_a_row = record.holds
    delay = hold_delay(in_a_row)
    successor = dataclasses.replace(
        record,
        recipients=tuple(recipients),
        attempt=record.attempt + 1,
        part=record.part_after(held=True),
        next_at=now + delay,
        deferred_at=now,
    )
    return Successor(successor, delay)


def _entry(outcome: Outcome, action: ReportAction, over: bool) -> Entry:
    status, answer = outcome.status, outcome.answer
    if action == "failed" and over and outcome.fate is not Fate.PERMANENT:
        status, answer = EXPIRED_STATUS, f"not delivered in the time allowed; last answer: {answer}"
    return Entry(
        outcome.recipient, action, status or "2.0.0", outcome.code, answer, outcome.place.host if outcome.code else ""
    )
