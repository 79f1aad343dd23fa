"""From the journal's entries to events. Pure.

entry                                             event
claim, purge or event with an acceptance time     accepted, before its own (only the first attempt has it, and see `Acceptances`)
claim                                             attempt
outcome, delivered                                delivered
outcome, not delivered                            refused: what follows is told by a relay of this version or later only
withdrawal                                        withdrawn
purge                                             purged
event                                             what it says it is: deferred, bounced, held, quarantined, or what a later version has
mark                                              none

An event is a JSON object. What is not known is left out: nothing is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from relayfleet.relay.spool.rabbitmq.entries import Entry, lines

Event = dict[str, Any]
REMEMBERED = 50_000

_NAMES = {"claim": "attempt", "withdrawal": "withdrawn", "purge": "purged"}
_KEY = re.compile(r"([^.]*)\.([0-9]{1,18})(?![0-9])")
_ANSWER = re.compile(r"(\d{3}) (?:([245]\.\d{1,3}\.\d{1,3})(?= |$))?")
_SAME = ("reason", "phase", "source", "host", "address", "code", "status", "text", "expired")
"""Have the same name in the journal and in an event."""


class PositionError(ValueError):
    """The text is no position in the journal."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Of one event: the offset of its message in the stream, and its number there. Written `1234-5`."""

    offset: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Position:
        """Raises PositionError."""
        offset, dash, number = text.partition("-")
        if not dash or not all(each.isascii() and each.isdigit() and len(each) < 19 for each in (offset, number)):
            raise PositionError(f"{text!r} is no offset: take the `offset` of an event as it is, such as 1234-5")
        return cls(int(offset), int(number))

    def __str__(self) -> str:
        return f"{self.offset}-{self.number}"


def events(offset: int, body: bytes, pool: str) -> Iterator[tuple[Position, Event]]:
    """The events of one message of the stream, in order. An entry has two numbers, one for an acceptance and one for itself, so that a reader of
    another version numbers alike."""
    for line, entry in lines(body):
        if entry.kind in ("mark", "settled", "destination"):
            continue
        if "accepted" in entry.detail:
            place = Position(offset, 2 * line)
            yield place, {"offset": str(place)} | _accepted(entry, pool)
        place = Position(offset, 2 * line + 1)
        yield place, {"offset": str(place)} | _event(entry, pool)


class Acceptances:
    """Each word on a first attempt says how the mail came; a reader is told once. Who goes on from an earlier place is told again."""

    def __init__(self) -> None:
        self._told: dict[str, None] = {}

    def news(self, event: Event) -> bool:
        """False for an acceptance that was told of already, by its record, among the last `REMEMBERED`."""
        if event["event"] != "accepted":
            return True
        if (record := event["record"]) in self._told:
            return False
        self._told[record] = None
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        return True


def missing(after: Position, first: int) -> Event:
    """The event that tells a reader that what came after `after`, up to the offset `first`, is not kept any more."""
    return {"offset": str(after), "event": "gap", "text": f"the journal keeps nothing before {first}-0 any more"}


def _accepted(entry: Entry, pool: str) -> Event:
    """Recipients are a number here: who they are is said by what becomes of them, each with his own."""
    detail = entry.detail
    found = _common("accepted", _time(detail["accepted"]), entry, pool) | {"recipientCount": detail.get("accepted_for")}
    return _known(found | {"credential": detail.get("credential")})


def _event(entry: Entry, pool: str) -> Event:
    name = _NAMES.get(entry.kind) or entry.name or ("delivered" if entry.delivered else "refused")
    found = _common(name, _time(entry.time), entry, pool)
    attempt = _KEY.match(entry.key)
    found["attempt"] = int(attempt[2]) if attempt else None
    found["recipients"] = list(entry.recipients)
    found["relay"] = entry.holder.partition("/")[0]
    found["source"], found["host"], found["rule"] = entry.source, entry.host, entry.rule
    found |= {each: entry.detail[each] for each in _SAME if entry.detail.get(each)}
    if entry.kind == "outcome":
        found |= _answer(entry.answer)
    if host := found["host"]:
        found["provider"] = ".".join(str(host).rsplit(".", 2)[-2:])
    if next_at := entry.detail.get("next"):
        found["next"] = _time(next_at)
    return _known(found)


def _common(name: str, time: str, entry: Entry, pool: str) -> Event:
    record = entry.key.partition(".")[0]
    return {
        "event": name,
        "time": time,
        "pool": pool,
        "record": record,
        "messageId": entry.detail.get("message_id"),
    }


def _answer(answer: str) -> Event:
    """Code, enhanced code and text of what the journal has as one line."""
    if (found := _ANSWER.match(answer)) is None:
        return {"text": answer}
    return {"code": int(found[1]), "status": found[2], "text": answer[4:]}


def _known(event: Event) -> Event:
    return {name: value for name, value in event.items() if value not in (None, "")}


def _time(seconds: object) -> str:
    """RFC 3339 in UTC, to the millisecond; "" for what is no time."""
    try:
        moment = datetime.fromtimestamp(float(str(seconds)), UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
