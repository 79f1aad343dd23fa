"""What the journal is told of an attempt for people and programs: what became of whom. Pure.

Who was delivered to is in the journal's outcomes, who was purged in its purges; all others are here. Of recipients with one answer and one end there is
one event. A mail that a rule goes on holding is told of once: it is looked at every few minutes, and nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from relayfleet.relay.delivery.outcome import Fate, Outcome
from relayfleet.relay.spool.interface import Event, EventName, Successor
from relayfleet.relay.spool.record import Record

_MOST_TEXT = 300
"""As much as the journal keeps of any answer."""


def settled(record: Record, outcomes: Iterable[Outcome], successors: Sequence[Successor]) -> list[Event]:
    """The events of an attempt that goes on in `successors`: who is in none of them, and was not delivered to, is given up."""
    later = [each.record for each in successors if each.record.id == record.id]
    groups: dict[tuple[float, tuple[object, ...]], list[Outcome]] = {}
    for each in outcomes:
        if each.fate not in (Fate.DELIVERED, Fate.PURGED) and not (each.fate is Fate.HELD and record.is_held):
            goes_on = next((one for one in later if each.recipient in one.recipients), None)
            next_at = goes_on.next_at if goes_on else 0.0
            groups.setdefault((next_at, (each.fate, each.code, each.text, each.place)), []).append(each)
    return [_event(group, next_at) for (next_at, _), group in groups.items()]


def quarantined(record: Record, why: str) -> list[Event]:
    """The event of a record that is put aside for a person."""
    return [Event("quarantined", tuple(each.address for each in record.recipients), {"text": why[:_MOST_TEXT]})]


def _event(group: Sequence[Outcome], next_at: float) -> Event:
    """`next_at` in Unix seconds; 0: never."""
    first = group[0]
    name: EventName = "held" if first.fate is Fate.HELD else "deferred" if next_at else "bounced"
    detail: dict[str, Any] = {
        "reason": first.verdict.reason if first.verdict else "",
        "phase": first.phase,
        "code": first.code,
        "status": first.status,
        "text": first.text[:_MOST_TEXT],
        "source": first.place.source,
        "host": first.place.host,
        "address": first.place.address,
        "next": round(next_at, 3),
    }
    if name == "bounced" and first.fate is not Fate.PERMANENT:
        detail["expired"] = True
    return Event(name, tuple(each.recipient.address for each in group), {k: v for k, v in detail.items() if v})
