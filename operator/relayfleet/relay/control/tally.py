"""Counts of what live traffic meets, between two windows. Counting is on the path of every mail: a dict look-up and an addition, no more."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from enum import IntEnum
from typing import TypeVar

from relayfleet.protocol.telemetry import MOST_ROWS, Attempts, Confirms, Lookups

MOST_KEYS = 4096
"""Names counted between two windows; without a leader nobody empties the tally, and the world has many providers."""

K = TypeVar("K")


class Ending(IntEnum):
    """How an attempt to deliver ended, in the order of the counts in `Attempts`."""

    REPLIED = 0
    CONNECT_FAILED = 1
    TIMED_OUT = 2
    RESET = 3


class Tally:
    """Written by delivery, spool and routing; read and emptied by the windows."""

    def __init__(self) -> None:
        self._attempts: dict[tuple[str, str], list[int]] = {}
        self._confirms: dict[str, list[int]] = {}
        self._lookups: dict[str, list[int]] = {}

    def attempt(self, source: str, provider: str, ending: Ending) -> None:
        """An attempt from a SendingIP (its name) to a provider has ended."""
        _row(self._attempts, (source, provider), len(Ending))[ending] += 1

    def confirm(self, broker: str, in_time: bool) -> None:
        """A publish was confirmed by a broker (host:port), or should have been by now."""
        _row(self._confirms, broker, 2)[not in_time] += 1

    def lookup(self, resolver: str, answered: bool) -> None:
        """A resolver (host:port) answered a question, or failed to."""
        _row(self._lookups, resolver, 2)[not answered] += 1

    def forgive(self) -> None:
        """Strike out the failures that time alone may have told: we were away ourselves, so nobody can be blamed for being late."""
        for attempts in self._attempts.values():
            attempts[Ending.TIMED_OUT] = attempts[Ending.CONNECT_FAILED] = 0
        for row in (*self._confirms.values(), *self._lookups.values()):
            row[1] = 0

    def take(self) -> tuple[tuple[Attempts, ...], tuple[Confirms, ...], tuple[Lookups, ...]]:
        """What was counted since the last time: at most MOST_ROWS of each kind, those with the most failures first."""
        attempts, confirms, lookups = self._attempts, self._confirms, self._lookups
        self._attempts, self._confirms, self._lookups = {}, {}, {}
        return (
            tuple(Attempts(*key, *counts) for key, counts in _worst(attempts, lambda row: sum(row[1:]))),
            tuple(Confirms(broker, *counts) for broker, counts in _worst(confirms, lambda row: row[1])),
            tuple(Lookups("Resolver", name, *counts) for name, counts in _worst(lookups, lambda row: row[1])),
        )


def _row(rows: dict[K, list[int]], key: K, width: int) -> list[int]:
    row = rows.get(key)
    if row is None:
        row = [0] * width
        if len(rows) < MOST_KEYS:
            rows[key] = row
    return row


def _worst(rows: dict[K, list[int]], failures: Callable[[list[int]], int]) -> list[tuple[K, list[int]]]:
    counted = (item for item in rows.items() if any(item[1]))
    return heapq.nlargest(MOST_ROWS, counted, key=lambda item: (failures(item[1]), sum(item[1])))
