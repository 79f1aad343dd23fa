"""Where a delivery came from: a place, and the memory that its records share until they are let go of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from relayfleet.amqp.connection import Connection
from relayfleet.relay.spool.places import FRONT

LANED_BYTES = 192 * 1024**2
"""Of records of all provider lanes in this relay's memory, beyond which no more are read. Prefetches are chosen so that it is hardly ever reached
(`providerlanes.fitting`): while it is, all lanes wait for the slowest of them."""


class Memory:
    """Counts bytes that came over one connection, and stops reading from it while they are too many."""

    def __init__(self, connection: Connection, most: int = LANED_BYTES) -> None:
        self._connection, self._most = connection, most
        self._asking = 0
        self.bytes = 0

    def came(self, size: int) -> None:
        """A record is in memory."""
        self.bytes += size
        self._fit()

    def gone(self, size: int) -> None:
        """It is not any more."""
        self.bytes -= size
        self._fit()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """An answer of the broker is waited for, which stands behind what it has sent before: all that is read."""
        self._asking += 1
        self._connection.resume_reading()
        try:
            yield
        finally:
            self._asking -= 1
            self._fit()

    def _fit(self) -> None:
        if self.bytes <= self._most // 2:
            self._connection.resume_reading()
        elif self.bytes > self._most and not self._asking:
            self._connection.pause_reading()


@dataclass(frozen=True, slots=True)
class Source:
    """`memory`: of provider lanes; the front's is bounded by the buffer and by its hands."""

    place: int = FRONT
    memory: Memory | None = None

    def came(self, size: int) -> None:
        """A record from here is in memory."""
        if self.memory is not None:
            self.memory.came(size)

    def gone(self, size: int) -> None:
        """It is not any more."""
        if self.memory is not None:
            self.memory.gone(size)
