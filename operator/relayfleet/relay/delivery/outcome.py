"""What came of one recipient in one attempt: the only thing that delivery tells retry, reports, logs and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from relayfleet.relay.delivery.errors import Phase
from relayfleet.relay.replies.verdict import Verdict
from relayfleet.relay.spool.record import Recipient


class Fate(Enum):
    """Delivered: done. Transient: again later. Permanent: never again. Uncertain: the peer may have it, again after ten minutes.
    Held: not tried, since a rule of the pool's holds it. Purged: never again, and nobody is told."""

    DELIVERED = "Delivered"
    TRANSIENT = "Transient"
    PERMANENT = "Permanent"
    UNCERTAIN = "Uncertain"
    HELD = "Held"
    PURGED = "Purged"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt went: source name, MX host, address, TLS. Empty when it did not come so far."""

    source: str = ""
    host: str = ""
    address: str = ""
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """One recipient after one attempt. `code` 0: the peer said nothing, `text` is ours. `status` is an enhanced status code, never empty
    for a failure. `relayed` marks a delivery to a peer without DSN, so that a success report is ours to write (RFC 3461 section 5.2.2)."""

    recipient: Recipient
    fate: Fate
    phase: Phase
    code: int
    status: str
    text: str
    place: Place
    verdict: Verdict | None = None
    relayed: bool = False

    @property
    def answer(self) -> str:
        """Code, status and text as one line."""
        words = (str(self.code or ""), "" if self.status in self.text else self.status, self.text)
        return " ".join(word for word in words if word)
