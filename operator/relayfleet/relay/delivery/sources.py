"""From which of the pool's addresses a mail leaves: the seam where choice by reputation, warm-up and health will stand.

Now the pool's sources take turns. A source whose bind address this machine does not have (a pod on the wrong node, an address that
was taken away) is passed over and tried again half a minute later: binding is the only honest test, and it costs microseconds.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from relayfleet.protocol.relay_config import Source
from relayfleet.relay.delivery.connecting import bound_socket
from relayfleet.relay.spool.record import Record

RECHECK_SECONDS = 30.0


class SourceChooser(Protocol):
    """Chooses a source for one record and destination; is told what came of it."""

    def choose(self, record: Record, destination: tuple[str, ...]) -> Source | None:
        """The source to send from; None when no source can send from here at present."""
        ...

    def failed(self, source: Source) -> None:
        """The machine could not send from it."""
        ...

    def reload(self, sources: Sequence[Source]) -> None:
        """The pool's sources from now on."""
        ...

    def unusable(self) -> tuple[str, ...]:
        """Names of the sources that cannot send from here, for status and metrics."""
        ...


class SourcesInTurn:
    """Fits SourceChooser. A record that was greylisted keeps its source (`last_source`): the peer waits for that address."""

    def __init__(self, sources: Sequence[Source], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = 0
        self.reload(sources)

    def reload(self, sources: Sequence[Source]) -> None:
        """Without sources nothing can be sent: mail from an address that nobody vouches for would do more harm than waiting."""
        self._sources = tuple(sources)
        self._broken_until: dict[str, float] = {}
        self._checked_until: dict[str, float] = {}

    def choose(self, record: Record, destination: tuple[str, ...]) -> Source | None:
        if record.last_source:
            for source in self._sources:
                if source.name == record.last_source and self._usable(source):
                    return source
        for _ in self._sources:
            source = self._sources[self._turn % len(self._sources)]
            self._turn += 1
            if self._usable(source):
                return source
        return None

    def failed(self, source: Source) -> None:
        self._checked_until.pop(source.name, None)

    def unusable(self) -> tuple[str, ...]:
        return tuple(source.name for source in self._sources if not self._usable(source))

    def _usable(self, source: Source) -> bool:
        if not source.bind_address:
            return True
        now = self._clock()
        if now < self._broken_until.get(source.name, 0.0):
            return False
        if now < self._checked_until.get(source.name, 0.0):
            return True
        usable = bindable(source.bind_address)
        until = self._checked_until if usable else self._broken_until
        until[source.name] = now + RECHECK_SECONDS
        return usable


def family_of(source: Source) -> int | None:
    """The IP version that a source can speak: that of its bind address, else of its public one; None when it has neither."""
    address = source.bind_address or source.address
    return ipaddress.ip_address(address).version if address else None


def bindable(address: str) -> bool:
    """True when this machine has the address now."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    try:
        bound_socket(family, address).close()
    except OSError:
        return False
    return True
