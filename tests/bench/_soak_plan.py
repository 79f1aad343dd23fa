"""What the soak does with its time: how many records, how many hops each, and until when. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RECORDS, SIZE, SECONDS = 1_000_000, 2048, 1500.0
"""Defaults. The time is for two cores that store three thousand records a second."""

LADDER = (3, 10)
"""Seconds of the rungs: of a record's first wait, and of those after it. Short, so that a million come back within the time."""

HOPS = (1, 2, 2, 1, 2, 2, 1, 2, 2, 3)
"""How often records wait, in turn. Each wait is two writes for the brokers: into the wait queue and, dead-lettered, into the ready queue."""

ROUNDS = 2
"""Equal parts with a rest after each: what is left behind for each record is twice as much after the second, what is left behind once is not."""

MOST_WAITING = 100_000
"""Records that are under way at once, at most: as many as come back while a round drains, since a queue dead-letters no faster than its targets
confirm. It bounds what the brokers hold, not how much passes."""

_PUT, _DRAIN = 0.75, 0.9
"""Parts of a round's time after which nothing new is put, and nothing is waited for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`records` of `size` bytes within `seconds`, from the moment that the brokers are ready."""

    records: int = RECORDS
    size: int = SIZE
    seconds: float = SECONDS

    def numbers(self, turn: int) -> range:
        """Of the records of a round."""
        return range(self.records * turn // ROUNDS, self.records * (turn + 1) // ROUNDS)

    def put_until(self, turn: int) -> float:
        """Seconds after the beginning at which a round puts nothing more."""
        return self._at(turn + _PUT)

    def drain_until(self, turn: int) -> float:
        """The same for what is under way still."""
        return self._at(turn + _DRAIN)

    def rest_until(self, turn: int) -> float:
        """The same for the wait until disk is free again."""
        return self._at(turn + 1.0)

    def _at(self, turns: float) -> float:
        return self.seconds * turns / ROUNDS


def plan(environment: Mapping[str, str]) -> Plan:
    """From SOAK_RECORDS, SOAK_SIZE and SOAK_SECONDS. ValueError says what is wrong with one."""
    return Plan(
        _whole(environment, "SOAK_RECORDS", RECORDS),
        _whole(environment, "SOAK_SIZE", SIZE),
        float(_whole(environment, "SOAK_SECONDS", int(SECONDS))),
    )


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ValueError(f"{name} is {text!r}; it has to be a whole number above zero, as in {default}")
    return int(text)


def goes_on(number: int, hops: int, late: bool) -> bool:
    """Whether a record that has waited `hops` times waits once more. When the time gets short, the million comes before the hops."""
    return not late and hops < HOPS[number % len(HOPS)]


def delay(hops: int) -> float:
    """Seconds of the wait after `hops` of them."""
    return LADDER[min(hops, len(LADDER) - 1)]


def is_late(put: int, wanted: int, elapsed: float, seconds: float) -> bool:
    """Whether `put` records of a round after `elapsed` of its `seconds` for putting are too few to get all there."""
    return put < wanted and put * seconds < 0.95 * wanted * elapsed
