"""A broker that is named, in words: a reason of the interface, and a sentence that stays the same while it lasts."""

from __future__ import annotations

import datetime

from relayfleet.decide.queue.facts import Silent
from relayfleet.decide.queue.looks import Fault, Kind

_REASONS = {Kind.SILENT: "BrokerSilent", Kind.ERRED: "BrokerErring"}
REASONS = frozenset({"BrokerSilent", "BrokerErring", "BrokerUnreachable"})


def silent(pod: str, fault: Fault, began: datetime.datetime) -> Silent:
    """`began`: the fault's beginning by the clock on the wall."""
    since = began.strftime("%Y-%m-%dT%H:%M:%SZ")
    who = f"{fault.seen_by} of {fault.of} probers see" if fault.of > 1 else "the one prober sees"
    message = f"broker {pod} has confirmed nothing since {since}, as {who}: {fault.why}; look at its pod, its node and its disk"
    return Silent(pod, _REASONS.get(fault.kind, "BrokerUnreachable"), message)
