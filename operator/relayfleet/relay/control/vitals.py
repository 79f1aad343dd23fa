"""The relay's own word on itself: whether it can serve, and how near it is to its limits."""

from __future__ import annotations

from collections.abc import Callable

from relayfleet.relay.control.machine import memory, open_files
from relayfleet.relay.control.pulse import Pulse

LOOK_EVERY = 1.0
"""Seconds between two looks at files and memory, which cost system calls."""
LATELY = 2.0
TENSE = 0.25
"""An event loop that is late by so much on the average is at its limit. One pause is none: it is over, and probers have seen it."""
SPARE_FILES = 8
FULL_MEMORY = 0.97
Used = Callable[[], tuple[int, int]]
"""How much of something is in use, and how much there is; the latter 0 when there is no limit."""


class Vitals:
    """Asked by the windows. `load`: the largest share of the SMTP server's own limits in use, 0 to 1."""

    def __init__(self, load: Callable[[], float], pulse: Pulse, files: Used = open_files, held: Used = memory) -> None:
        self._load = load
        self._pulse = pulse
        self._ask_files, self._ask_memory = files, held
        self._looked = float("-inf")
        self._files = self._memory = (0, 0)

    def lag(self, within: float) -> float:
        """See Pulse.lag."""
        return self._pulse.lag(within)

    def look(self, now: float) -> None:
        """Look at the machine when it is time again; `now` by any clock that goes on."""
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._files, self._memory = self._ask_files(), self._ask_memory()

    @property
    def unfit(self) -> str:
        """Why this relay cannot serve, or ""."""
        used, most = self._files
        if most and used >= most - SPARE_FILES:
            return f"no file descriptors are left: {used} of {most} are in use"
        if _share(self._memory) >= FULL_MEMORY:
            return f"no memory is left: {self._memory[0] >> 20} of {self._memory[1] >> 20} MiB are in use"
        return ""

    @property
    def strain(self) -> float:
        """The share of the tightest limit in use, 0 to 1."""
        return min(1.0, max(self._load(), _share(self._files), self._pulse.mean(LATELY) / TENSE))


def _share(used: tuple[int, int]) -> float:
    return used[0] / used[1] if used[1] else 0.0
