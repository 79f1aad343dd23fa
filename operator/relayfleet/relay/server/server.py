"""The SMTP server of a relay: its parts put together, and its life: start, reload, drain, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from relayfleet.protocol.relay_config import RelayConfig, TlsMode
from relayfleet.relay.discard import Discard
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.senders import Senders
from relayfleet.relay.server import replies
from relayfleet.relay.server.access import Access
from relayfleet.relay.server.allowances import Allowances
from relayfleet.relay.server.auth import Authenticator
from relayfleet.relay.server.connection import Connection
from relayfleet.relay.server.counters import Counters
from relayfleet.relay.server.limits import MemoryBudget
from relayfleet.relay.server.listener import Listeners
from relayfleet.relay.server.services import Services
from relayfleet.relay.server.tls import Certificates
from relayfleet.relay.spool.interface import Spool

AUTH_FOLDER = Path("/etc/relayfleet/auth")
TLS_FOLDER = Path("/etc/relayfleet/tls")


class SmtpServer:
    """Takes mail over SMTP and puts it into `spool`.

    `hostname` is what it calls itself. `address` is where it listens ("" is everywhere), `tick` the seconds between looks at the sessions'
    deadlines. `discard` None: probes are not taken. `defers_for` names the dependency for which new mail has to wait, or is "". `scavenger`: where mail of a Bulk pool waits. Raises ValueError when a network of the configuration cannot be read.
    """

    def __init__(
        self,
        config: RelayConfig,
        spool: Spool,
        hostname: str,
        *,
        auth_folder: Path = AUTH_FOLDER,
        tls_folder: Path = TLS_FOLDER,
        discard: Discard | None = None,
        defers_for: Callable[[], str] = str,
        address: str = "",
        tick: float = 0.5,
        failure_delay: float = 1.0,
        allowances: Allowances | None = None,
        scavenger: Scavenger | None = None,
    ) -> None:
        self._services = Services(
            config=config,
            spool=spool,
            hostname=hostname,
            authenticator=Authenticator(auth_folder, failure_delay),
            certificates=Certificates(tls_folder),
            access=Access(config.allowed_networks, config.proxy_sources),
            budget=MemoryBudget(config.limits.memory_bytes),
            discard=discard or Discard(None),
            senders=Senders(config.submitters),
            allowances=allowances or Allowances(),
            scavenger=scavenger or Scavenger(),
            defers_for=defers_for,
        )
        self.allowances.configure(config.submission_limits)
        self._connections: set[Connection] = set()
        self._listeners = Listeners(self._connect, address)
        self._tick = tick
        self._timer: asyncio.TimerHandle | None = None
        self._looked = asyncio.Event()
        self._drains = False

    @property
    def counters(self) -> Counters:
        """What was counted so far; a live object."""
        return self._services.counters

    @property
    def allowances(self) -> Allowances:
        """What credentials with limits may still submit; a live object."""
        return self._services.allowances

    @property
    def memory_used(self) -> int:
        """Bytes of messages that are being received or stored."""
        return self._services.budget.used

    @property
    def deferred(self) -> int:
        """How often a client was put off, so far, because this relay could not do its work."""
        return sum(self.counters.refused.get(key, 0) for key in replies.INCAPABLE)

    @property
    def load(self) -> float:
        """The larger share in use of two limits: sessions, and memory for messages."""
        services, limits = self._services, self._services.config.limits
        return max(
            services.admission.total / max(1, limits.sessions), services.budget.used / max(1, limits.memory_bytes)
        )

    @property
    def ports(self) -> dict[str, tuple[int, ...]]:
        """The ports listened on, by listener."""
        return self._listeners.ports

    async def start(self) -> None:
        """Listen. Raises ListenError when a port cannot be had."""
        await self._listeners.apply(self._services.config.listeners)
        self._look()

    async def reload(self, config: RelayConfig) -> None:
        """Go on under another configuration; open sessions stay. Raises ValueError (nothing was changed) or ListenError."""
        self._services.configure(config)
        await self._listeners.apply(config.listeners)

    def serve(self, serves: bool) -> None:
        """False: new connections and the next command of open sessions are answered by 421, and the listeners stay; True: as ever. A drain
        is not called back by this."""
        self._services.leaving = self._drains or not serves

    async def drain(self) -> None:
        """Answer new connections and the next command of open sessions by 421, and return when no session is left.

        A message that is being sent, or waits for the queue's confirm, is finished first. The caller limits the time.
        """
        self._drains = True
        self.serve(False)
        while self._connections or self._services.tasks:
            self._looked.clear()
            await self._looked.wait()

    async def stop(self) -> None:
        """Close everything now. A message without a confirm gets no answer, so its client will send it again."""
        self._listeners.close()
        if self._timer is not None:
            self._timer.cancel()
        tasks = tuple(self._services.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in tuple(self._connections):
            each.leave()
        # One turn of the loop writes the farewells; who does not read them gets none.
        await asyncio.sleep(0)
        for each in tuple(self._connections):
            each.abort()
        self._services.authenticator.close()

    def _connect(self, tls: TlsMode) -> Connection:
        return Connection(self._services, tls, self._connections)

    def _look(self) -> None:
        """Every `tick` seconds: deadlines of all sessions in one go, which is cheaper than a timer for each command."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick, self._look)
        now = loop.time()
        for each in tuple(self._connections):
            each.tick(now)
        self._looked.set()
