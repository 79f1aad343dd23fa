"""Which probes of one target are open. An answer by whichever way settles all that were sent before the answered one."""

from __future__ import annotations

from collections.abc import Iterable

from relayfleet.protocol.probing import Probe

MOST = 16
"""The oldest so many tell the length of a silence."""


class Ledger:
    """Probes that still have a socket are counted by their owner; here are those whose socket was given up, and the last answer."""

    def __init__(self) -> None:
        self._answered = float("-inf")
        self._given_up: dict[Probe, list[float]] = {}

    def give_up(self, probe: Probe, sent: float) -> None:
        """Nobody waits for this one any longer; it stays unanswered."""
        times = sorted((*self._given_up.get(probe, ()), sent))
        self._given_up[probe] = times[:MOST]

    def answer(self, sent: float) -> None:
        """A probe that was sent then has been answered."""
        self._answered = max(self._answered, sent)
        for probe, times in list(self._given_up.items()):
            left = [each for each in times if each > self._answered]
            if left:
                self._given_up[probe] = left
            else:
                del self._given_up[probe]

    def open(self, probe: Probe, waiting: Iterable[float]) -> tuple[float, ...]:
        """When the open probes of this kind were sent, oldest first; `waiting`: those with a socket."""
        unsettled = [each for each in waiting if each > self._answered]
        return tuple(sorted((*unsettled, *self._given_up.get(probe, ())))[:MOST])
