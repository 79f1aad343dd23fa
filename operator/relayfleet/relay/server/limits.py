"""Bounds that hold over all sessions together: how many there are, how much memory their messages take, how often something is logged.

A session's own bounds (line length, recipients, errors, deadlines) stand with the session; the figures of both are in the relay's
configuration (`protocol.relay_config.Limits`) where users may set them, and here where they may not.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from relayfleet.protocol.relay_config import Limits
from relayfleet.relay.server import replies
from relayfleet.relay.server.access import Address

SLOWEST_BYTES_PER_SECOND = 16 * 1024
"""A message may take `data_seconds`, and longer only while it keeps at least this pace: one byte a minute holds no session."""
SILENCE_SECONDS = 5.0
"""A session that has to go and says nothing for so long is told so unasked."""
HANDSHAKE_SECONDS = 30.0
"""For the PROXY header and the TLS handshake together."""
LINGER_SECONDS = 2.0
"""How long the rest of a client's data is read and dropped after we closed, or a reset could overtake our last answer."""
ERRORS = 20
"""Wrong commands since the last accepted mail."""
PROBE_BYTES = 4096
"""Largest probe."""
PROBES_PER_SECOND = 8
"""Probe transactions of all sessions together: several probers, each with a short series when something is wrong."""
AUTH_FAILURES = 3
"""Wrong passwords in one session."""


class Admission:
    """Counts open sessions in total and by client address."""

    def __init__(self) -> None:
        self._total = 0
        self._by_address: dict[Address | None, int] = {}

    @property
    def total(self) -> int:
        """Open sessions."""
        return self._total

    def enter(self, address: Address | None, limits: Limits) -> replies.Reply | None:
        """Count a session in, or return why not."""
        of_address = self._by_address.get(address, 0)
        if self._total >= limits.sessions:
            return replies.TOO_MANY_SESSIONS
        if of_address >= limits.sessions_per_address:
            return replies.TOO_MANY_FROM_ADDRESS
        self._total += 1
        self._by_address[address] = of_address + 1
        return None

    def leave(self, address: Address | None) -> None:
        """Count a session out that `enter` counted in."""
        self._total -= 1
        left = self._by_address[address] - 1
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]


class MemoryBudget:
    """Bytes of message bodies in memory, from the first byte received to the confirm of the queue."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes would fit now."""
        return self.used + size <= self.limit

    def take(self, size: int) -> bool:
        """Count `size` bytes in if they fit."""
        if not self.has_room(size):
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        """Count `size` bytes out."""
        self.used -= size


class Pace:
    """At most `limit` within any `seconds`, by `clock`."""

    def __init__(self, limit: int, seconds: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._times: deque[float] = deque(maxlen=limit)
        self._seconds = seconds
        self._clock = clock

    def allows(self) -> bool:
        """Count one in if it fits."""
        times, now = self._times, self._clock()
        if len(times) == times.maxlen and now - times[0] < self._seconds:
            return False
        times.append(now)
        return True


class FailureWindow:
    """Counts failures by key within a window that begins with the first, in bounded memory; tells who failed too often."""

    def __init__(self, limit: int, seconds: float, keys: int = 10_000) -> None:
        self._limit = limit
        self._seconds = seconds
        self._keys = keys
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def blocked(self, key: str, now: float) -> bool:
        """Whether `key` reached the limit in its current window."""
        since, count = self._counts.get(key, (now, 0))
        return now - since < self._seconds and count >= self._limit

    def add(self, key: str, now: float) -> None:
        """Count a failure."""
        since, count = self._counts.pop(key, (now, 0))
        if now - since >= self._seconds:
            since, count = now, 0
        self._counts[key] = (since, count + 1)
        if len(self._counts) > self._keys:
            self._counts.popitem(last=False)


class LogGate:
    """Lets one line a second through for each kind of trouble, and says how many it held back."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def open(self, kind: str, now: float) -> int | None:
        """None: stay silent. Otherwise log, and the number is how many lines were held back since the last."""
        if now - self._last.get(kind, float("-inf")) < self._seconds:
            self._held[kind] = self._held.get(kind, 0) + 1
            return None
        self._last[kind] = now
        return self._held.pop(kind, 0)
