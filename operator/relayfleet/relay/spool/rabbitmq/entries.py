"""Entries of the journal, and how they travel. Pure.

One message of the stream holds all the entries that a relay had to say at that moment, a JSON array a line, so that a thousand claims a
second are some dozens of messages. The lines are the pool's event stream as well (see `relay.events`).

    ["claim",   key, [recipients], holder, time, number, source, host, {…}] a relay is about to write a final dot
    ["outcome", key, [recipients], holder, time, number, delivered, answer, {…}]    what the other side said to it
    ["withdrawal", key, [recipients], holder, time, number]                 no dot was written under the claim of that number, and none will be
    ["settled", key, [recipients], holder, time, number]                    they go on in successors, or are given up: that is stored
    ["purge",   key, [recipients], holder, time, number, rule, {…}]         a rule of the pool's ended them without a word
    ["mark",    "",  [],           holder, time, number]                    a relay looks where it stands
    ["event",   key, [recipients], holder, time, number, name, {…}]         what became of an attempt, for people and programs only
    ["destination", "", [hosts],   holder, time, number, dead, why, tries]  nobody of these MX hosts is reached, or somebody is, or a relay tries now

`{…}` is the detail, which events are made of and no relay asks for. Relays of before this read claims, outcomes and purges without it, and
leave out events, what is settled and destinations; lines without it are theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["claim", "outcome", "withdrawal", "settled", "purge", "mark", "event", "destination"]
_EVENT = b'["event"'


@dataclass(frozen=True, slots=True)
class Entry:
    """One statement of one relay. `holder` names a life of a relay, `number` counts within it, `time` is in Unix seconds. `name`: which event."""

    kind: Kind
    key: str
    recipients: tuple[str, ...]
    holder: str
    time: float
    number: int
    source: str = ""
    host: str = ""
    delivered: bool = False
    answer: str = ""
    rule: str = ""
    dead: bool = False
    tries: bool = False
    name: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict, hash=False)


def encode(entries: Iterable[Entry]) -> bytes:
    """The entries as the body of one message."""
    return "\n".join(json.dumps(_row(each), separators=(",", ":")) for each in entries).encode()


def decode(data: bytes) -> list[Entry]:
    """What relays go by: all that `encode` wrote but events. Lines that are none of ours (a newer relay's) are left out."""
    return [entry for line in data.split(b"\n") if not line.startswith(_EVENT) and (entry := _read(line)) is not None]


def lines(data: bytes) -> Iterator[tuple[int, Entry]]:
    """All entries, each with the number of its line, which is the same for all readers whichever lines they know."""
    for number, line in enumerate(data.split(b"\n")):
        if (entry := _read(line)) is not None:
            yield number, entry


def _read(line: bytes) -> Entry | None:
    try:
        return _entry(json.loads(line))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return None


def _row(entry: Entry) -> list[Any]:
    common = [entry.kind, entry.key, entry.recipients, entry.holder, round(entry.time, 3), entry.number]
    detail = [entry.detail] if entry.detail else []
    if entry.kind == "claim":
        return [*common, entry.source, entry.host, *detail]
    if entry.kind == "outcome":
        return [*common, entry.delivered, entry.answer, *detail]
    if entry.kind == "purge":
        return [*common, entry.rule, *detail]
    if entry.kind == "event":
        return [*common, entry.name, *detail]
    if entry.kind == "destination":
        return [*common, entry.dead, entry.answer, entry.tries]
    return common


def _entry(row: list[Any]) -> Entry:
    kind, key, recipients, holder, time, number = row[:6]
    common = (str(key), tuple(map(str, recipients)), str(holder), float(time), int(number))
    if kind == "claim":
        return Entry("claim", *common, source=str(row[6]), host=str(row[7]), detail=_detail(row, 8))
    if kind == "outcome":
        return Entry("outcome", *common, delivered=bool(row[6]), answer=str(row[7]), detail=_detail(row, 8))
    if kind == "purge":
        return Entry("purge", *common, rule=str(row[6]), detail=_detail(row, 7))
    if kind == "event":
        return Entry("event", *common, name=str(row[6]), detail=_detail(row, 7))
    if kind == "destination":
        return Entry("destination", *common, dead=bool(row[6]), answer=str(row[7]), tries=bool(row[8]))
    if kind in ("withdrawal", "settled", "mark"):
        return Entry(kind, *common)
    raise ValueError(f"no entry: {kind!r}")


def _detail(row: list[Any], place: int) -> dict[str, Any]:
    """A claim is a claim whatever stands behind it: a detail that is none counts as missing."""
    found = row[place] if len(row) > place else None
    return found if isinstance(found, dict) else {}
