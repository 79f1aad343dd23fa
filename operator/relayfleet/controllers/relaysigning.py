"""What relays say of their DKIM keys. The operator reads no Secret of the user's, so that one is of no use is known by those who mount it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from relayfleet.controllers.relayhealth import PoolName
from relayfleet.protocol.telemetry import Window


class SigningNews:
    """The last word of each relay. `changed(namespace, name)` is called when it is another one."""

    def __init__(self, changed: Callable[[str, str], None] = lambda namespace, name: None) -> None:
        self._changed = changed
        self._said: dict[PoolName, dict[str, str]] = {}

    def take_window(self, pool: PoolName, relay: str, window: Window) -> None:
        """What a relay says."""
        if self.of(pool, relay) == window.signing:
            return  # nearly always
        self._said.setdefault(pool, {})[relay] = window.signing
        self._changed(*pool)

    def of(self, pool: PoolName, relay: str) -> str:
        """Why mail waits there for its key, or is signed by an old one; or ""."""
        return self._said.get(pool, {}).get(relay, "")

    def keep(self, pool: PoolName, relays: Collection[str]) -> None:
        """Forget all other relays of the pool."""
        self._said[pool] = {relay: text for relay, text in self._said.get(pool, {}).items() if text and relay in relays}
        if not self._said[pool]:
            del self._said[pool]
