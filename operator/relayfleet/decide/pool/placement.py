"""Which EndpointSlice holds which endpoint: one set of slices a lane and address family, at most 100 endpoints each.

An address stays in the slice where it is. Sorting the pool anew into its slices would move addresses from one to the next, and between
two writes the same address and port would be in both or in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from relayfleet.decide.pool.relays import Relay
from relayfleet.decide.weights import Condition, Endpoint, Lane, order_of_writes

CAPACITY = 100
"""Endpoints in one slice. Each change of a slice is sent whole to every node."""

_PREFERRED = (Condition.READY, Condition.LAST_RESORT, Condition.OUT)


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One slice: address family (IPv4, IPv6), number of the lane, number among the slices of that lane."""

    family: str
    lane: int
    part: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One endpoint of a slice."""

    relay: str
    address: str
    condition: Condition


Slices = Mapping[Key, tuple[Entry, ...]]


def place(lanes: Sequence[Lane], relays: Sequence[Relay], families: Sequence[str], before: Slices) -> Slices:
    """The slices as they should be. The first slice of lane 0 is always there, if empty; others only with endpoints."""
    known = {relay.name: relay for relay in relays}
    after: dict[Key, tuple[Entry, ...]] = {Key(family, 0, 0): () for family in families}
    for family in families:
        for number, lane in enumerate(lanes):
            listed = [
                Entry(each.relay, known[each.relay].addresses[family], each.condition)
                for each in lane
                if family in known[each.relay].addresses
            ]
            after |= _allot(family, number, _once(listed), before)
    return after


def _once(entries: Iterable[Entry]) -> list[Entry]:
    """An address that two pods claim (one of them is gone and does not know yet) is listed for the one that serves."""
    best: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda each: (_PREFERRED.index(each.condition), each.relay)):
        best.setdefault(entry.address, entry)
    return sorted(best.values(), key=lambda each: each.relay)


def _allot(family: str, lane: int, entries: Sequence[Entry], before: Slices) -> dict[Key, tuple[Entry, ...]]:
    home = {
        entry.address: key.part
        for key in sorted(before, reverse=True)  # in doubt, the lowest part
        if (key.family, key.lane) == (family, lane)
        for entry in before[key]
    }
    parts: dict[int, list[Entry]] = {}
    for entry in sorted(entries, key=lambda each: each.address not in home):
        part = home.get(entry.address, 0)
        while len(parts.get(part, ())) >= CAPACITY:
            part += 1
        parts.setdefault(part, []).append(entry)
    return {
        Key(family, lane, part): tuple(sorted(members, key=lambda each: each.relay)) for part, members in parts.items()
    }


def order(before: Slices, after: Slices) -> tuple[Key, ...]:
    """All slices, the one that matters most first (see `weights.order_of_writes`); one that is not in `after` has to go."""
    lanes = order_of_writes(_as_lanes(before), _as_lanes(after))
    urgency = {lane: position for position, lane in enumerate(lanes)}
    return tuple(sorted({*before, *after}, key=lambda key: (urgency.get(key.lane, len(lanes)), key)))


def _as_lanes(slices: Slices) -> tuple[Lane, ...]:
    found: dict[int, dict[str, Endpoint]] = {}
    for key in sorted(slices):
        for entry in slices[key]:
            found.setdefault(key.lane, {}).setdefault(entry.relay, Endpoint(entry.relay, entry.condition))
    return tuple(tuple(found.get(lane, {}).values()) for lane in range(max(found, default=-1) + 1))
