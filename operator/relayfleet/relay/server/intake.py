"""A message on its way in: what it may cost in memory and time.

Its bytes are charged to the budget of all sessions as they come and stay charged until the queue confirmed it. When the budget is
exhausted or the message too large, the rest is read and dropped, so that the client gets its answer where it expects it.
"""

from __future__ import annotations

from relayfleet.protocol.relay_config import Limits
from relayfleet.relay.server import replies
from relayfleet.relay.server.limits import SLOWEST_BYTES_PER_SECOND, MemoryBudget
from relayfleet.relay.server.lines import Reader
from relayfleet.relay.server.replies import Reply


class Intake:
    """One message of at most `most_bytes` being read from `reader`. Begun when the client was told to send it, at `now`."""

    def __init__(self, reader: Reader, budget: MemoryBudget, limits: Limits, most_bytes: int, now: float) -> None:
        self._reader = reader
        self._budget = budget
        self._charged = 0
        self._refusal = replies.TOO_LARGE
        self._ends = now + limits.data_seconds
        reader.begin_body(most_bytes)

    @property
    def deadline(self) -> float:
        """When the message must be complete; moves on with every byte, at the slowest pace that is allowed."""
        return self._ends + self._reader.seen / SLOWEST_BYTES_PER_SECOND

    def take(self) -> bytes | Reply | None:
        """The message (charged until `release`), the reply that refuses it, or None when more must come. Raises LineFault."""
        body = self._reader.body()
        if body is None:
            self._charge_or_discard()
            return None
        if not body.complete:
            self.release()
            return self._refusal
        if not self._charge(len(body.message)):
            self.release()
            return replies.MEMORY_FULL
        return body.message

    def release(self) -> None:
        """Its memory is free again."""
        self._budget.give(self._charged)
        self._charged = 0

    def _charge_or_discard(self) -> None:
        if not self._charge(self._reader.held):
            self._reader.discard()
            self._refusal = replies.MEMORY_FULL
            self.release()

    def _charge(self, size: int) -> bool:
        """Charge `size` bytes instead of what was charged before."""
        more = size - self._charged
        if more <= 0:
            self._budget.give(-more)
        elif not self._budget.take(more):
            return False
        self._charged = size
        return True
