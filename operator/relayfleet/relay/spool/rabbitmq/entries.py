"""Entries of the journal, and how they travel. Pure.

One message of the stream holds all the entries that a relay had to say at that moment, a JSON array a line, so that a thousand claims a
second are some dozens of messages. The lines are readable as they are: they are the pool's event stream as well.

    ["claim",   key, [recipients], holder, time, number, source, host]      a relay is about to write a final dot
    ["outcome", key, [recipients], holder, time, number, delivered, answer] what the other side said to it
    ["withdrawal", key, [recipients], holder, time, number]                 no dot was written under the claim of that number, and none will be
    ["purge",   key, [recipients], holder, time, number, rule]              a rule of the pool's ended them without a word
    ["mark",    "",  [],           holder, time, number]                    a relay looks where it stands
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["claim", "outcome", "withdrawal", "purge", "mark"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One statement of one relay. `holder` names a life of a relay, `number` counts within it, `time` is in Unix seconds."""

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


def encode(entries: Iterable[Entry]) -> bytes:
    """The entries as the body of one message."""
    return "\n".join(json.dumps(_row(each), separators=(",", ":")) for each in entries).encode()


def decode(data: bytes) -> list[Entry]:
    """What `encode` wrote; lines that are none of ours (a newer relay's) are left out."""
    found = []
    for line in data.split(b"\n"):
        try:
            found.append(_entry(json.loads(line)))
        except (ValueError, TypeError, KeyError, IndexError):
            continue
    return found


def _row(entry: Entry) -> list[Any]:
    common = [entry.kind, entry.key, entry.recipients, entry.holder, round(entry.time, 3), entry.number]
    if entry.kind == "claim":
        return [*common, entry.source, entry.host]
    if entry.kind == "outcome":
        return [*common, entry.delivered, entry.answer]
    if entry.kind == "purge":
        return [*common, entry.rule]
    return common


def _entry(row: list[Any]) -> Entry:
    kind, key, recipients, holder, time, number = row[:6]
    common = (str(key), tuple(map(str, recipients)), str(holder), float(time), int(number))
    if kind == "claim":
        return Entry("claim", *common, source=str(row[6]), host=str(row[7]))
    if kind == "outcome":
        return Entry("outcome", *common, delivered=bool(row[6]), answer=str(row[7]))
    if kind == "purge":
        return Entry("purge", *common, rule=str(row[6]))
    if kind in ("withdrawal", "mark"):
        return Entry(kind, *common)
    raise ValueError(f"no entry: {kind!r}")
