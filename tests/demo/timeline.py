"""What the demo tells: one line for each thing that happened, with the seconds since the start."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """Mails of one flow, by the receiving side."""

    submitted: int = 0
    accepted: int = 0
    delivered: int = 0
    lost: int = 0
    duplicates: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.submitted + other.submitted,
            self.accepted + other.accepted,
            self.delivered + other.delivered,
            self.lost + other.lost,
            self.duplicates + other.duplicates,
        )

    def __str__(self) -> str:
        return (
            f"submitted {self.submitted}, accepted {self.accepted}, delivered {self.delivered}, "
            f"lost {self.lost}, duplicates {self.duplicates}"
        )


class Timeline:
    """Prints as things happen."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)
