"""An event in plain words, for a person. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from relayfleet.relay.events.event import Event

OPEN = (
    "No answer is known to what was tried last: its relay waits for one, or has died. Then another relay tries again after ten minutes at least, since "
    "the receiving server may have the mail."
)


def history(events: Sequence[Event]) -> Iterable[str]:
    """The lines that tell of one record, whose events these are in order, at least one. Senders and peers have their words in them, and they go to a
    terminal: what is not printable is a question mark."""
    yield from map(_printable, _lines(events))


def _printable(line: str) -> str:
    return line if line.isprintable() else "".join(each if each.isprintable() else "?" for each in line)


def _lines(events: Sequence[Event]) -> Iterable[str]:
    named = next((each["messageId"] for each in events if "messageId" in each), "")
    yield f"record {events[0]['record']}" + (f", message id {named}" if named else "")
    for each in events:
        yield f"  {each.get('time', ''):24}  {_sentence(each)}"
    if events[-1]["event"] == "attempt":
        yield f"  {OPEN}"


def _sentence(event: Event) -> str:
    to = ", ".join(event.get("recipients", ()))
    said = f"{event.get('host', 'nobody')}: {_answer(event)}" if "code" in event else _answer(event)
    why = f" ({event['reason']})" if "reason" in event else ""
    again = f"; next at {event['next']}" if "next" in event else ""
    number = f"attempt {event.get('attempt', '?')}"
    match event["event"]:
        case "accepted":
            by = f" from credential {event['credential']}" if "credential" in event else ""
            return f"accepted{by} for {event.get('recipientCount', '?')} recipients"
        case "attempt":
            source = f" from {event['source']}" if "source" in event else ""
            return f"{number}: {event['relay']} hands it to {event.get('host', '?')}{source} for {to}"
        case "delivered":
            return f"{number}: delivered to {to}; {said}"
        case "refused":
            return f"{number}: refused at the end for {to}; {said}"
        case "deferred":
            return f"{number}: deferred for {to}{why}; {said}{again}"
        case "bounced":
            late = "its time is over, " if event.get("expired") else ""
            return f"{number}: given up for {to}{why}; {late}{said}"
        case "held":
            return f"{number}: held for {to}{why}; {said}{again}"
        case "withdrawn":
            return f"{number}: not handed over after all, for {to}"
        case "purged":
            return f"{number}: ended by delivery rule {event.get('rule', '?')} for {to}, and nobody is told"
        case "quarantined":
            return f"{number}: in quarantine for {to}; {said}"
        case _:
            return json.dumps(event)


def _answer(event: Event) -> str:
    words = (event.get("code"), event.get("status"), event.get("text"))
    text = str(words[2] or "")
    return " ".join(str(each) for each in words if each and (each == words[2] or str(each) not in text)) or "no answer"
