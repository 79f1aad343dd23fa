"""What relays say of matters that only they can look at: their DKIM keys, sealing, provider lanes, parked mail, the suppression list. The operator reads no Secret of the
user's, so that one is of no use is known by those who mount it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Generic, NamedTuple, TypeVar

from relayfleet.controllers.evidence import PoolName
from relayfleet.protocol.telemetry import Window

Word = TypeVar("Word")


class RelayWords(Generic[Word]):
    """The last word of each relay on one matter. `changed(namespace, name)` is called when it is another one.

    A matter says what a relay that has said nothing says (`silent`), and what of a window is about it.
    """

    silent: Word

    def __init__(self, changed: Callable[[str, str], None] = lambda namespace, name: None) -> None:
        self._changed = changed
        self._said: dict[PoolName, dict[str, Word]] = {}

    def heard(self, window: Window) -> Word:
        """The word in a window."""
        raise NotImplementedError

    def take_window(self, pool: PoolName, relay: str, window: Window) -> None:
        """What a relay says."""
        word = self.heard(window)
        if self.of(pool, relay) == word:
            return  # nearly always
        self._said.setdefault(pool, {})[relay] = word
        self._changed(*pool)

    def of(self, pool: PoolName, relay: str) -> Word:
        """What it says now."""
        return self._said.get(pool, {}).get(relay, self.silent)

    def keep(self, pool: PoolName, relays: Collection[str]) -> None:
        """Forget all other relays of the pool."""
        said = self._said.get(pool, {}).items()
        self._said[pool] = {relay: word for relay, word in said if word != self.silent and relay in relays}
        if not self._said[pool]:
            del self._said[pool]


class Signing(NamedTuple):
    """Why mail waits for its key, or is signed by an old one; which key is not in DNS. Each with what to do, or ""."""

    unavailable: str = ""
    unpublished: str = ""


class SigningWords(RelayWords[Signing]):
    """On DKIM keys."""

    silent = Signing()

    def heard(self, window: Window) -> Signing:
        return Signing(window.signing, window.unpublished)


class Sealing(NamedTuple):
    """`opens`: it can open sealed records. `trouble`: why some of them wait there, or ""."""

    opens: bool = False
    trouble: str = ""


class SealingWords(RelayWords[Sealing]):
    """On sealed records."""

    silent = Sealing()

    def heard(self, window: Window) -> Sealing:
        return Sealing(window.opens, window.sealing)

    def open(self, pool: PoolName, relays: Iterable[str]) -> list[bool]:
        """Of each relay, whether it said that it can open sealed records."""
        return [self.of(pool, each).opens for each in relays]


class LaneWords(RelayWords[bool]):
    """On provider lanes: whether it takes mail from them."""

    silent = False

    def heard(self, window: Window) -> bool:
        return window.lanes


class ParkingWords(RelayWords[bool]):
    """On parked mail: whether it knows that."""

    silent = False

    def heard(self, window: Window) -> bool:
        return window.parks


class Suppression(NamedTuple):
    """`trouble`: what is wrong and what to do, or "". `withholds`: nothing is sent for that."""

    trouble: str = ""
    withholds: bool = False


class SuppressionWords(RelayWords[Suppression]):
    """On the suppression list."""

    silent = Suppression()

    def heard(self, window: Window) -> Suppression:
        return Suppression(window.suppression, window.withholds)
