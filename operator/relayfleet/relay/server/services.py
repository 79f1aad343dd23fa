"""What all sessions of a server share, and what changes under them when the configuration does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from relayfleet.protocol.relay_config import RelayConfig
from relayfleet.relay.discard import Discard
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.senders import Senders
from relayfleet.relay.server.access import Access
from relayfleet.relay.server.allowances import Allowances
from relayfleet.relay.server.auth import Authenticator
from relayfleet.relay.server.counters import Counters
from relayfleet.relay.server.limits import PROBES_PER_SECOND, Admission, LogGate, MemoryBudget, Pace
from relayfleet.relay.server.tls import Certificates
from relayfleet.relay.spool.interface import Spool


@dataclass(slots=True)
class Services:
    """Shared by all sessions. `leaving`: sessions are to go at their next command. `tasks`: whatever a session waits for.
    `defers_for` names the dependency for which new mail has to wait, or is ""."""

    config: RelayConfig
    spool: Spool
    hostname: str
    authenticator: Authenticator
    certificates: Certificates
    access: Access
    budget: MemoryBudget
    discard: Discard
    senders: Senders = field(default_factory=Senders)
    allowances: Allowances = field(default_factory=Allowances)
    scavenger: Scavenger = field(default_factory=Scavenger)
    admission: Admission = field(default_factory=Admission)
    counters: Counters = field(default_factory=Counters)
    gate: LogGate = field(default_factory=LogGate)
    leaving: bool = False
    defers_for: Callable[[], str] = str
    probe_pace: Pace = field(default_factory=lambda: Pace(PROBES_PER_SECOND))
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def configure(self, config: RelayConfig) -> None:
        """Open sessions go on under the new configuration. Raises ValueError, and changes nothing, for a text that is no network."""
        self.access = Access(config.allowed_networks, config.proxy_sources)
        self.senders = Senders(config.submitters)
        self.allowances.configure(config.submission_limits)
        self.budget.limit = config.limits.memory_bytes
        self.config = config

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something that outlives its session."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
