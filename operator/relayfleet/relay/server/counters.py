"""What the server counts; plain numbers that only grow (but for `sessions_open`), for whoever turns them into metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Totals since the start. Bytes are of messages for `accepted_bytes`, of plain SMTP for `received_bytes`; seconds are summed.

    `probes` were answered with 250 too, but are no mail of clients. `refused` counts every negative reply that was sent, by its codes: {"452 4.3.1": 3}. `expiries` counts
    what mails say on their own expiry: Taken or Ignored (nobody can read it).
    """

    sessions_open: int = 0
    sessions: int = 0
    tls_sessions: int = 0
    tls_failures: int = 0
    accepted: int = 0
    accepted_recipients: int = 0
    accepted_bytes: int = 0
    received_bytes: int = 0
    confirm_seconds: float = 0.0
    probes: int = 0
    auth_granted: int = 0
    auth_denied: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    expiries: dict[str, int] = field(default_factory=dict)

    def refuse(self, key: str) -> None:
        """Count a negative reply."""
        self.refused[key] = self.refused.get(key, 0) + 1

    def expiry(self, *, taken: bool) -> None:
        """Count a mail that says until when it is worth delivering."""
        key = "Taken" if taken else "Ignored"
        self.expiries[key] = self.expiries.get(key, 0) + 1
