"""What relays say of their DKIM keys. The operator reads no Secret of the user's, so that one is of no use is known by those who mount it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from relayfleet.controllers.relayhealth import PoolName
from relayfleet.protocol.telemetry import Window


class Words(NamedTuple):
    """Why mail waits for its key, or is signed by an old one; which key is not in DNS. Each with what to do, or ""."""

    unavailable: str = ""
    unpublished: str = ""


SILENT = Words()


class SigningNews:
    """The last word of each relay. `changed(namespace, name)` is called when it is another one."""

    def __init__(self, changed: Callable[[str, str], None] = lambda namespace, name: None) -> None:
        self._changed = changed
        self._said: dict[PoolName, dict[str, Words]] = {}

    def take_window(self, pool: PoolName, relay: str, window: Window) -> None:
        """What a relay says."""
        words = Words(window.signing, window.unpublished)
        if self.of(pool, relay) == words:
            return  # nearly always
        self._said.setdefault(pool, {})[relay] = words
        self._changed(*pool)

    def of(self, pool: PoolName, relay: str) -> Words:
        """What it says now."""
        return self._said.get(pool, {}).get(relay, SILENT)

    def keep(self, pool: PoolName, relays: Collection[str]) -> None:
        """Forget all other relays of the pool."""
        said = self._said.get(pool, {}).items()
        self._said[pool] = {relay: words for relay, words in said if words != SILENT and relay in relays}
        if not self._said[pool]:
            del self._said[pool]
