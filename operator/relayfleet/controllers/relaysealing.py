"""What relays say of sealing: whether they can open sealed records, and why some of them wait."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from relayfleet.controllers.relayhealth import PoolName
from relayfleet.protocol.telemetry import Window

_Word = tuple[bool, str]
_NOTHING: _Word = (False, "")


class SealingNews:
    """The last word of each relay. `changed(namespace, name)` is called when it is another one."""

    def __init__(self, changed: Callable[[str, str], None] = lambda namespace, name: None) -> None:
        self._changed = changed
        self._said: dict[PoolName, dict[str, _Word]] = {}

    def take_window(self, pool: PoolName, relay: str, window: Window) -> None:
        """What a relay says."""
        word = (window.opens, window.sealing)
        if self._of(pool, relay) == word:
            return  # nearly always
        self._said.setdefault(pool, {})[relay] = word
        self._changed(*pool)

    def of(self, pool: PoolName, relay: str) -> str:
        """Why sealed mail waits there, or ""."""
        return self._of(pool, relay)[1]

    def open(self, pool: PoolName, relays: Iterable[str]) -> list[bool]:
        """Of each relay, whether it said that it can open sealed records."""
        return [self._of(pool, each)[0] for each in relays]

    def keep(self, pool: PoolName, relays: Collection[str]) -> None:
        """Forget all other relays of the pool."""
        self._said[pool] = {relay: word for relay, word in self._said.get(pool, {}).items() if relay in relays}
        if not self._said[pool]:
            del self._said[pool]

    def _of(self, pool: PoolName, relay: str) -> _Word:
        return self._said.get(pool, {}).get(relay, _NOTHING)
