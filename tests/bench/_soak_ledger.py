"""Which records were put, which have come to their end, and how often. By number, a byte or two for each: a million would be too many texts."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

_PUT = 0x80
_MOST = 0x7F


@dataclass(slots=True)
class Ledger:
    """`records` are expected. `run` begins the ids, so that what another run left behind is told from a record of ours."""

    records: int
    run: str = field(default_factory=lambda: secrets.token_hex(5).upper())
    put: int = 0
    finished: int = 0
    hops: int = 0
    strange: int = 0
    _seen: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self._seen = bytearray(self.records)

    def id(self, number: int) -> str:
        """Of a record: as long as the product's own."""
        return f"{self.run}{number:016d}"

    def number(self, id_: str) -> int | None:
        """Of a record of this run; None for any other."""
        text = id_.removeprefix(self.run)
        if text == id_ or not text.isdecimal() or int(text) >= self.records:
            return None
        return int(text)

    def stored(self, number: int) -> None:
        """The brokers have confirmed it."""
        self.put += not self._seen[number] & _PUT
        self._seen[number] |= _PUT

    def end(self, number: int) -> None:
        """It was acknowledged for good."""
        times = self._seen[number] & _MOST
        self.finished += not times
        self._seen[number] = (self._seen[number] & _PUT) | min(times + 1, _MOST)

    @property
    def under_way(self) -> int:
        """Records that were confirmed and have not come to their end. A few that ended before their confirm came make it less."""
        return self.put - self.finished

    @property
    def missing(self) -> list[int]:
        """Numbers of those that were confirmed and never ended."""
        return [number for number, seen in enumerate(self._seen) if seen == _PUT]

    @property
    def duplicates(self) -> int:
        """How many times more than once records ended."""
        return sum(max((seen & _MOST) - 1, 0) for seen in self._seen)
