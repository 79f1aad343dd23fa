"""What relays say of the suppression list: what is wrong with it, and whether mail waits for it. The operator reads no Secret of the user's."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from relayfleet.controllers.relayhealth import PoolName
from relayfleet.protocol.telemetry import Window


class Word(NamedTuple):
    """`trouble`: what is wrong and what to do, or "". `withholds`: nothing is sent for that."""

    trouble: str = ""
    withholds: bool = False


SILENT = Word()


class SuppressionNews:
    """The last word of each relay. `changed(namespace, name)` is called when it is another one."""

    def __init__(self, changed: Callable[[str, str], None] = lambda namespace, name: None) -> None:
        self._changed = changed
        self._said: dict[PoolName, dict[str, Word]] = {}

    def take_window(self, pool: PoolName, relay: str, window: Window) -> None:
        """What a relay says."""
        word = Word(window.suppression, window.withholds)
        if self.of(pool, relay) == word:
            return  # nearly always
        self._said.setdefault(pool, {})[relay] = word
        self._changed(*pool)

    def of(self, pool: PoolName, relay: str) -> Word:
        """What it says now."""
        return self._said.get(pool, {}).get(relay, SILENT)

    def keep(self, pool: PoolName, relays: Collection[str]) -> None:
        """Forget all other relays of the pool."""
        said = self._said.get(pool, {}).items()
        self._said[pool] = {relay: word for relay, word in said if word != SILENT and relay in relays}
        if not self._said[pool]:
            del self._said[pool]
