"""Who judges: the client's list of every 250 against what the receiving server has. Pure; the relay's own counters have no say.

Lost: a recipient of an accepted mail for whom nothing arrived. Duplicate: more than one copy for one recipient. A copy more is
explained when the client itself was left in doubt (no answer to the dot, or a 4xx to it) and sent the mail again: each doubtful try
explains one. All others are the relay's, and count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.ledger.entries import Entry

SHOWN = 20
"""Offenders named in a verdict."""

Copy = tuple[str, str]
"""Test id and recipient."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of recipients, not of mails. `latency` in seconds from the 250 to the sink's dot: p50, p95, p99, max."""

    accepted: int
    delivered: int
    lost: tuple[Copy, ...]
    duplicates: tuple[Copy, ...]
    explained: tuple[Copy, ...]
    altered: tuple[Copy, ...]
    unclaimed: tuple[Copy, ...]
    latency: Mapping[str, float]

    @property
    def good(self) -> bool:
        """Nothing lost, doubled without explanation, or altered."""
        return not (self.lost or self.duplicates or self.altered)

    def __str__(self) -> str:
        lines = [
            f"{'GOOD' if self.good else 'BAD'}: accepted {self.accepted}, delivered {self.delivered}, lost {len(self.lost)}, "
            f"duplicates {len(self.duplicates)} (and {len(self.explained)} explained by doubtful answers), altered {len(self.altered)}"
        ]
        if self.latency:
            lines.append("latency: " + ", ".join(f"{name} {value:.3f} s" for name, value in self.latency.items()))
        lines += [_named("lost", self.lost), _named("duplicates", self.duplicates), _named("altered", self.altered)]
        if self.unclaimed:
            lines.append(
                f"arrived without a 250 (allowed, the client was told to try again or gave up): {len(self.unclaimed)}"
            )
        return "\n".join(filter(None, lines))


def judge(entries: Iterable[Entry], messages: Iterable[Mapping[str, Any]]) -> Verdict:
    """`entries`: the client's list; `messages`: the sink's records (`tests.sink.records`)."""
    accepted: dict[Copy, Entry] = {}
    doubts: dict[Copy, int] = defaultdict(int)
    mine: set[str] = set()
    for each in entries:
        mine.add(each.test_id)
        for recipient in each.recipients:
            copy = (each.test_id, _folded(recipient))
            doubts[copy] += each.doubtful
            if each.outcome == "accepted":
                accepted.setdefault(copy, each)
    arrived = _arrived(messages, mine)
    surplus = {copy: len(found) - 1 - doubts[copy] for copy, found in arrived.items() if len(found) > 1}
    return Verdict(
        accepted=len(accepted),
        delivered=sum(copy in arrived for copy in accepted),
        lost=tuple(sorted(copy for copy in accepted if copy not in arrived)),
        duplicates=tuple(sorted(copy for copy, count in surplus.items() if count > 0)),
        explained=tuple(sorted(copy for copy, count in surplus.items() if count <= 0)),
        altered=tuple(sorted(copy for copy, entry in accepted.items() if _altered(entry, arrived.get(copy, ())))),
        unclaimed=tuple(sorted(copy for copy in arrived if copy not in accepted)),
        latency=percentiles(
            [arrived[copy][0]["time"] - entry.at for copy, entry in accepted.items() if copy in arrived]
        ),
    )


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and max by the nearest rank; empty for no values."""
    ranked = sorted(values)
    if not ranked:
        return {}
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: ranked[max(-int(-share * len(ranked) // 1) - 1, 0)] for name, share in ranks.items()}


def _arrived(messages: Iterable[Mapping[str, Any]], mine: set[str]) -> dict[Copy, list[Mapping[str, Any]]]:
    """The records for each copy, the earliest first; mails of others are left out."""
    arrived: dict[Copy, list[Mapping[str, Any]]] = defaultdict(list)
    for message in messages:
        if message["test_id"] in mine:
            for recipient in message["recipients"]:
                arrived[message["test_id"], _folded(recipient["address"])].append(message)
    for found in arrived.values():
        found.sort(key=lambda message: message["time"])
    return dict(arrived)


def _altered(entry: Entry, found: Sequence[Mapping[str, Any]]) -> bool:
    sent = (entry.headers_sha256, entry.body_sha256)
    return any((each["headers_sha256"], each["body_sha256"]) != sent for each in found)


def _folded(address: str) -> str:
    """The domain may change its letters on the way, the local part may not."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}"


def _named(what: str, copies: Sequence[Copy]) -> str:
    if not copies:
        return ""
    shown = ", ".join(f"{test_id} for {recipient}" for test_id, recipient in copies[:SHOWN])
    return f"{what}: {shown}{f' and {len(copies) - SHOWN} more' if len(copies) > SHOWN else ''}"
