"""What the journal knows of a record's twins: copies under the same key in other relays. Pure.

Asked twice. *Before the attempt:* who is done, or has gone on with a twin, is passed over; of whom a claim stands open nothing is known yet. *After it,* right
before what is left is stored: a twin may have been tried meanwhile. What it delivered does not go on here, and what it put off goes on there. What it is
sending at this moment is uncertain, and looked at again in ten minutes instead of hours.
"""

from __future__ import annotations

from collections.abc import Sequence

from relayfleet.relay.delivery.judging import uncertain
from relayfleet.relay.delivery.outcome import Fate, Outcome
from relayfleet.relay.spool.interface import Seen
from relayfleet.relay.spool.record import Recipient, Record

_ENDED = (Fate.DELIVERED, Fate.PURGED)
"""The journal has these by the record's id."""


def before(record: Record, seen: Seen) -> tuple[list[Outcome], list[Recipient]]:
    """The outcomes of those of whom a claim stands open, and those to be tried."""
    left = [each for each in record.recipients if each.address not in seen.delivered | seen.settled]
    known = [uncertain(each) for each in left if each.address in seen.uncertain]
    return known, [each for each in left if each.address not in seen.uncertain]


def after(outcomes: Sequence[Outcome], seen: Seen) -> list[Outcome]:
    """The outcomes that this copy settles. What a rule holds is looked at again soon enough in any case."""
    gone = seen.delivered | seen.settled
    kept = [each for each in outcomes if each.fate in _ENDED or each.recipient.address not in gone]
    return [uncertain(each.recipient) if _is_under_way(each, seen) else each for each in kept]


def unfinished(outcomes: Sequence[Outcome]) -> list[str]:
    """The addresses of those who go on or are given up."""
    return [each.recipient.address for each in outcomes if each.fate not in _ENDED]


def _is_under_way(outcome: Outcome, seen: Seen) -> bool:
    failed = outcome.fate in (Fate.TRANSIENT, Fate.PERMANENT)
    return failed and outcome.recipient.address in seen.elsewhere
