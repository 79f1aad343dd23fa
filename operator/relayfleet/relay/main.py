"""The composition root of a relay, and its life: start, reload, drain.

The order of a drain: SIGTERM → for a moment everything goes on as before, while the operator takes the relay out of the endpoints →
new sessions and next commands get 421, no new records are taken → what is open finishes, or is handed back when the grace is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any

import uvloop
from prometheus_client.metrics_core import Metric

from relayfleet.protocol import sealing, telemetry
from relayfleet.protocol.relay_config import ConfigError, RelayConfig, load
from relayfleet.relay.control.keys import Keys
from relayfleet.relay.control.orders import Obedience
from relayfleet.relay.control.pulse import Pulse
from relayfleet.relay.control.server import ControlServer
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.control.vitals import Vitals
from relayfleet.relay.control.windows import Windows
from relayfleet.relay.delivery.sources import SourcesInTurn
from relayfleet.relay.delivery.worker import DeliveryService
from relayfleet.relay.dependencies.resolvers import Resolvers
from relayfleet.relay.dependencies.service import Dependencies
from relayfleet.relay.discard import Discard
from relayfleet.relay.files import Files, files_of, watch
from relayfleet.relay.routing.lookup import Lookup
from relayfleet.relay.routing.providers import LaneFinder, Providers
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.routing.servers import servers_to_ask
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.server import SmtpServer
from relayfleet.relay.signing.letter import Signing
from relayfleet.relay.spool.rabbitmq import RabbitMQJournal, RabbitMQSpool
from relayfleet.relay.spool.sealer import Sealer
from relayfleet.relay.status import (
    Status,
    allowance_metrics,
    control_metrics,
    dependency_metrics,
    lane_metrics,
    parking_metrics,
    relay_metrics,
    requeue_metrics,
    resolver_metrics,
    rule_metrics,
    scavenger_metrics,
    sealing_metrics,
    signing_metrics,
    suppression_metrics,
)
from relayfleet.relay.suppression.suppression import SuppressionList

log = logging.getLogger(__name__)

STATUS_PORT = 9640
LAST_WORDS = 2.0
"""Seconds for closing connections after the grace is over."""


def run(files: Files | None = None, status_port: int = STATUS_PORT) -> int:
    """Run a relay until SIGTERM; returns the exit status."""
    name = os.environ.get("RELAYFLEET_RELAY_NAME", "relay")
    files = files or files_of(name)
    try:
        config = load(files.config.read_text())
    except (OSError, ConfigError) as error:
        print(f"relayfleet relay: {files.config}: {error}", file=sys.stderr)  # noqa: T201 - before there is a log
        return 2
    return uvloop.run(Relay(config, files, name).run(status_port))


class Relay:
    """One relay. `name` is what it calls itself to brokers and, with the pool's name, in logs."""

    def __init__(self, config: RelayConfig, files: Files, name: str) -> None:
        self._config = config
        self._files = files
        self._tally = tally = Tally()
        hostname = _helo_name(config) or name
        self.lookup = Lookup(servers_to_ask(config.delivery.resolvers), tally)
        self.names = Resolver(self.lookup)
        self.providers = providers = Providers()
        self.sealer = Sealer(files.sealing / sealing.ENTRY, config.broker.queue_prefix, seals=config.seal)
        self.spool = RabbitMQSpool(
            config.broker,
            files.broker_credentials,
            str(files.broker_ca),
            prefetch=config.delivery.prefetch,
            name=name,
            tally=tally,
            sealer=self.sealer,
            lane_of=LaneFinder(self.names, providers).at_once,
        )
        self.spool.use_lanes(config.delivery.lanes)
        self.spool.park(config.delivery.parks)
        self.journal = RabbitMQJournal(config.broker, files.broker_credentials, str(files.broker_ca), name=name)
        self.scavenger = Scavenger(config.bulk)
        discard = Discard(files.discard)
        self.dependencies = Dependencies(config.dependencies, files.dependencies)
        self.server = SmtpServer(
            config,
            self.spool,
            hostname,
            auth_folder=files.auth,
            tls_folder=files.certificate.parent,
            discard=discard,
            defers_for=lambda: self.dependencies.defers_for,
            scavenger=self.scavenger,
        )
        self.resolvers = Resolvers(self.lookup.standings, _helo_name(config))
        sources = SourcesInTurn(config.sources)
        signing = Signing(files.dkim, config.dkim)
        self.suppression = SuppressionList(files.suppression, config.suppression)
        self.delivery = DeliveryService(
            config,
            self.spool,
            self.names,
            self.journal,
            sources,
            hostname,
            tally=tally,
            discard=discard,
            signing=signing,
            suppression=self.suppression,
            providers=providers,
            scavenger=self.scavenger,
        )
        self.obedience = Obedience(self.server, self.delivery)
        self._was_ready = False
        self._draining = False

    async def run(self, status_port: int, control_port: int = telemetry.PORT) -> int:
        """Serve until SIGTERM or SIGINT, then drain."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        control = self.control()
        status = Status(self.why_not_ready, lambda: self._metrics(control))
        async with background(
            status.serve(status_port),
            watch(self._files.config, self._reload),
            watch(self._files.sealing, self.sealer.reload),
            watch(self._files.suppression, self.suppression.read),
            control.run(control_port),
            self.obedience.run(),
            self.dependencies.run(),
            self.resolvers.run(),
            self.delivery.signing.publication.run(self.lookup),
            self._mind(control),
        ):
            await self.start()
            log.info("relay of pool %s serves on %s", self._config.pool, self.server.ports)
            await stop.wait()
            await self.drain()
        return 0

    async def start(self) -> None:
        """Connect to the queue in the background, listen, and begin to deliver once it is known to whom nothing may be sent."""
        self.spool.start()
        self.journal.start()
        await self.server.start()
        await self.delivery.signing.publication.first()
        await self.suppression.read()
        self.spool.requeue(self.delivery.rules)
        self.spool.release(self.delivery.parking)
        self.delivery.start()

    async def drain(self) -> None:
        """Leave without losing or repeating anything."""
        drain = self._config.drain
        log.info("leaving: as before for %.1f s, then what is open has %.0f s", drain.unlist, drain.grace)
        await asyncio.sleep(drain.unlist)
        self._draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain.grace + LAST_WORDS):
                await asyncio.gather(self._leave_clients(drain.grace), self.delivery.drain(drain.grace))
        await self.server.stop()
        await self.spool.close()
        await self.journal.close()
        log.info("left: %d records settled, %d handed back", *self._settled_and_released())

    async def _leave_clients(self, grace: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.server.drain()

    async def _mind(self, control: ControlServer) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.obedience.look(control.unled)

    def control(self, address: str = "") -> ControlServer:
        """The way to the leading operator; call it in the running loop."""
        vitals = Vitals(lambda: self.server.load, Pulse())
        windows = Windows(
            self._tally,
            lambda: (self.server.counters.accepted, self.server.deferred),
            vitals,
            lambda: self.obedience.stand,
            lambda: self.delivery.signing.trouble,
            self.dependencies.told,
            lambda: (self.sealer.opens, self.sealer.trouble),
            self.resolvers.told,
            lambda: self.delivery.signing.publication.trouble,
            suppression=lambda: (self.suppression.trouble, self.suppression.withholds),
            usages=self.server.allowances.usages,
        )
        learn = self.server.allowances.hear
        return ControlServer(Keys(self._files.control), windows, self.obedience.obey, address, learn)

    def _metrics(self, control: ControlServer) -> Iterable[Metric]:
        yield from relay_metrics(self.server, self.delivery, self.spool)
        yield from scavenger_metrics(self.scavenger)
        yield from allowance_metrics(self.server.allowances)
        yield from rule_metrics(self.delivery)
        yield from requeue_metrics(self.spool.requeuer)
        yield from lane_metrics(self.providers, self.delivery, self.spool)
        yield from parking_metrics(self.delivery, self.spool)
        yield from control_metrics(control.counters)
        yield from dependency_metrics(self.dependencies)
        yield from sealing_metrics(self.sealer)
        yield from suppression_metrics(self.suppression)
        yield from resolver_metrics(self.resolvers, self.lookup, self.names)
        yield from signing_metrics(self.delivery.signing)

    def _settled_and_released(self) -> tuple[int, int]:
        return self.delivery.counters.records_settled, self.delivery.counters.records_released

    def why_not_ready(self) -> str:
        """Why this relay should get no traffic, or ""."""
        self._was_ready = self._was_ready or self.spool.ready
        if self._draining:
            return "draining"
        return "" if self._was_ready else f"no queue yet: {self.spool.why_not_ready}"

    async def _reload(self) -> None:
        config = load(self._files.config.read_text())
        resolvers = servers_to_ask(config.delivery.resolvers)
        if config.delivery.prefetch != self._config.delivery.prefetch:
            log.warning("delivery.prefetch has changed: it is used after a restart")
        self.scavenger.use(config.bulk)
        self.spool.reconfigure(config.broker)
        self.spool.use_lanes(config.delivery.lanes)
        self.spool.park(config.delivery.parks)
        self.journal.reconfigure(config.broker)
        self.sealer.seals = config.seal
        await self.server.reload(config)
        await self.suppression.reload(config.suppression)
        self.delivery.reload(config)
        if config.delivery_rules != self._config.delivery_rules:
            self.spool.requeue(self.delivery.rules)
        self.dependencies.reload(config.dependencies)
        self.lookup.reconfigure(resolvers)
        self.resolvers.reload(_helo_name(config))
        self._config = config
        log.info(
            "new configuration: %d sending addresses, %d listeners, %d delivery rules",
            len(config.sources),
            len(config.listeners),
            len(self.delivery.rules),
        )


def _helo_name(config: RelayConfig) -> str:
    return config.sources[0].helo_name if config.sources else ""


@contextlib.asynccontextmanager
async def background(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run beside the block, and end with it; a failure of one ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in coroutines]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
