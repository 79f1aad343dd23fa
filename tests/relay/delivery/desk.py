"""A delivery service with everything real around it but the queue: sockets, DNS packets, a receiving server."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

from relayfleet.protocol.relay_config import Broker, Delivery, DeliveryRule, RelayConfig, Retry, Source
from relayfleet.relay.delivery.sources import SourcesInTurn
from relayfleet.relay.delivery.worker import DeliveryService
from relayfleet.relay.discard import Discard
from relayfleet.relay.routing.lookup import Lookup
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.signing.letter import Signing
from relayfleet.relay.spool.record import Recipient, Record, new_id
from relayfleet.relay.suppression.suppression import SuppressionList
from tests.fakes.dns import Records, Responder, responder
from tests.fakes.journal import MemoryJournal
from tests.fakes.spool import MemorySpool

HOSTNAME = "relay.test"
BODY = b"From: a@sender.test\r\nSubject: hello\r\n\r\nhello\r\n..a line that begins with a dot\r\n"
NOW = 1_800_000_000.0


def a_record(*recipients: str, **changes: object) -> Record:
    """A mail from a@sender.test."""
    record = Record(new_id(), "a@sender.test", tuple(Recipient(each) for each in recipients), BODY, accepted_at=0.0)
    return dataclasses.replace(record, **changes)  # type: ignore[arg-type]


class Desk:
    """The service and what a test looks at."""

    def __init__(
        self,
        service: DeliveryService,
        spool: MemorySpool,
        journal: MemoryJournal,
        dns: Responder,
        config: RelayConfig,
    ) -> None:
        self.service, self.spool, self.journal, self.dns = service, spool, journal, dns
        self._config = config

    def state(self, *rules: DeliveryRule) -> None:
        """These are the pool's delivery rules from now on."""
        self._config = dataclasses.replace(self._config, delivery_rules=rules)
        self.service.reload(self._config)

    async def deliver(self, *records: Record) -> None:
        """Put the records and wait until each is settled or handed back. Others, such as a report, may be under way before and after."""
        ended = self.spool.ended
        before = ended.copy()
        for record in records:
            await self.spool.put(record)
        await until(lambda: all(ended[each.key] > before[each.key] for each in records))

    @property
    def later(self) -> list[Record]:
        """Successors that wait for their next attempt."""
        return [each.record for each in self.spool.delayed]

    @property
    def fates(self) -> dict[str, int]:
        return dict(self.service.counters.recipients)


async def until(holds: Callable[[], bool], budget: float = 20.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(budget):
        while not holds():  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.002)


@asynccontextmanager
async def desk(
    zone: Records,
    port: int,
    sources: tuple[Source, ...] = (),
    retry: Retry | None = None,
    delivery: Delivery | None = None,
    discard: Discard | None = None,
    signing: Signing | None = None,
    suppression: SuppressionList | None = None,
    rules: tuple[DeliveryRule, ...] = (),
    starts: bool = True,
    journal: MemoryJournal | None = None,
    scavenger: Scavenger | None = None,
) -> AsyncIterator[Desk]:
    """A service that finds its way by `zone`; it runs if it `starts`."""
    sources = sources or (Source("pod", "", HOSTNAME),)
    config = RelayConfig(
        "test/pool",
        "eu",
        Broker(()),
        (),
        sources=sources,
        delivery=dataclasses.replace(delivery or Delivery(), port=port),
        retry=retry or Retry(lifetime=1e12),
        delivery_rules=rules,
    )
    spool, journal = MemorySpool(), journal or MemoryJournal()
    async with responder(zone) as dns:
        resolver = Resolver(Lookup([dns.address]))
        service = DeliveryService(
            config,
            spool,
            resolver,
            journal,
            SourcesInTurn(sources),
            HOSTNAME,
            random=Random(1),
            discard=discard,
            signing=signing,
            suppression=suppression,
            scavenger=scavenger,
        )
        if starts:
            service.start()
        try:
            yield Desk(service, spool, journal, dns, config)
        finally:
            await service.drain(0.0)
