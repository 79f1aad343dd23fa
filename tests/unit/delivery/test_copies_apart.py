"""Copies of one record in different relays that fail or are held: what the one has put off, the other neither sends nor puts off once more.

Two lines of copies that go on by themselves never meet again: what the one delivers, the other has still to try up to four hours later, when the
journal has forgotten it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest

from relayfleet.protocol.relay_config import Broker, RelayConfig, Source
from relayfleet.relay.delivery.sources import SourcesInTurn
from relayfleet.relay.delivery.worker import DeliveryService
from relayfleet.relay.routing.errors import DnsTemporary
from relayfleet.relay.routing.lookup import Answer
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.spool.interface import Held, Seen, SpoolUnavailable
from relayfleet.relay.spool.rabbitmq.entries import Entry
from relayfleet.relay.spool.rabbitmq.ledger import Ledger
from relayfleet.relay.spool.record import Recipient, Record
from tests.fakes.journal import MemoryJournal
from tests.fakes.spool import MemoryHeld, MemorySpool

B, C = Recipient("b@one.test"), Recipient("c@two.test")
RECORD = Record("01ABC", "a@sender.test", (B,), b"X: y\r\n\r\n", accepted_at=1e12, attempt=9)


@dataclass(eq=False, slots=True)
class SharedJournal(MemoryJournal):
    """One stream, as one of its readers knows it."""

    holder: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    is_away: bool = False

    async def seen(self, record: Record) -> Seen:
        if self.is_away:
            raise SpoolUnavailable("the journal is being read")
        return self.ledger.seen(record.key, [each.address for each in record.recipients], self.holder)

    def settled(self, held: Held, recipients: Sequence[str]) -> None:
        self.state("settled", held.record, *recipients)

    def state(self, kind: str, record: Record, *recipients: str, **what: bool) -> None:
        self.ledger.apply(Entry(kind, record.key, recipients, self.holder, 0.0, 1, **what), 0.0)  # type: ignore[arg-type]


class Relay:
    """A relay whose resolver fails, once it is `released`."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.asked, self.released = asyncio.Event(), asyncio.Event()
        self.journal = SharedJournal(holder=name, ledger=ledger)
        self.spool = MemorySpool()
        config = RelayConfig("test/pool", "eu", Broker(()), ())
        sources = SourcesInTurn((Source("pod", "", "relay.test"),))
        self.service = DeliveryService(
            config, self.spool, Resolver(self), self.journal, sources, "relay.test", random=Random(name)
        )

    async def ask(self, name: str, kind: str) -> Answer:
        self.asked.set()
        await self.released.wait()
        raise DnsTemporary("no answer")

    async def takes(self, record: Record) -> MemoryHeld:
        """Until it is done with it."""
        await self.spool.put(record)
        held = await self.spool.take()
        await self.service._handle(held)
        return held

    @property
    def waits(self) -> list[Record]:
        return [each.record for each in self.spool.delayed]


@pytest.fixture
def relays() -> tuple[Relay, Relay]:
    ledger = Ledger()
    return Relay("one", ledger), Relay("two", ledger)


async def test_a_copy_that_comes_after_another_relay_has_put_off_its_twin_is_dropped(
    relays: tuple[Relay, Relay],
) -> None:
    one, two = relays
    one.released.set()
    two.released.set()
    await one.takes(RECORD)
    assert [each.attempt for each in one.waits] == [10]
    held = await two.takes(RECORD)
    assert held.settled
    assert two.waits == []
    assert two.service.counters.duplicates_dropped == 1


async def test_of_two_copies_that_are_tried_at_once_one_goes_on(relays: tuple[Relay, Relay]) -> None:
    one, two = relays
    one.released.set()
    later = asyncio.create_task(two.takes(RECORD))
    await two.asked.wait()
    await one.takes(RECORD)
    two.released.set()
    assert (await later).settled
    assert (len(one.waits), two.waits) == (1, [])


async def test_recipients_that_the_twin_has_not_go_on(relays: tuple[Relay, Relay]) -> None:
    one, two = relays
    one.released.set()
    two.released.set()
    await one.takes(RECORD)
    await two.takes(Record("01ABC", "a@sender.test", (B, C), b"X: y\r\n\r\n", accepted_at=1e12, attempt=9))
    assert [each.recipients for each in two.waits] == [(C,)]


async def test_what_is_delivered_elsewhere_while_it_fails_here_does_not_go_on(relays: tuple[Relay, Relay]) -> None:
    one, two = relays
    trying = asyncio.create_task(one.takes(RECORD))
    await one.asked.wait()
    two.journal.state("claim", RECORD, B.address)
    two.journal.state("outcome", RECORD, B.address, delivered=True)
    one.released.set()
    assert (await trying).settled
    assert one.spool.stored == [RECORD]


async def test_what_is_being_sent_elsewhere_while_it_fails_here_is_looked_at_while_the_journal_knows_what_came_of_it(
    relays: tuple[Relay, Relay],
) -> None:
    one, two = relays
    trying = asyncio.create_task(one.takes(RECORD))
    await one.asked.wait()
    two.journal.state("claim", RECORD, B.address)
    one.released.set()
    await trying
    assert [each.delay for each in one.spool.delayed] == [600.0], "by its schedule it would be four hours"


async def test_a_claim_that_somebody_left_open_is_looked_at_while_the_journal_knows_what_came_of_it(
    relays: tuple[Relay, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relayfleet.relay.delivery.worker.OPEN_CLAIM_SECONDS", 0.0)
    one, two = relays
    two.journal.state("claim", RECORD, B.address)
    await one.takes(RECORD)
    assert [each.delay for each in one.spool.delayed] == [600.0]


async def test_our_own_claim_whose_withdrawal_is_on_its_way_is_nobody_elses(relays: tuple[Relay, Relay]) -> None:
    one, _ = relays
    trying = asyncio.create_task(one.takes(RECORD))
    await one.asked.wait()
    one.journal.state("claim", RECORD, B.address)
    one.released.set()
    await trying
    assert [each.delay > 600.0 for each in one.spool.delayed] == [True]


async def test_a_journal_that_goes_away_during_the_attempt_keeps_no_mail_back(relays: tuple[Relay, Relay]) -> None:
    one, _ = relays
    trying = asyncio.create_task(one.takes(RECORD))
    await one.asked.wait()
    one.journal.is_away = True
    one.released.set()
    assert (await trying).settled
    assert len(one.waits) == 1


async def test_what_could_not_be_stored_is_nobodys_yet(relays: tuple[Relay, Relay]) -> None:
    one, two = relays
    two.released.set()
    trying = asyncio.create_task(one.takes(RECORD))
    await one.asked.wait()
    one.spool.fail_next.append(SpoolUnavailable("no majority"))
    one.spool.lose_connection()
    one.released.set()
    assert not (await trying).settled
    await two.takes(RECORD)
    assert len(two.waits) == 1


async def test_copies_that_relays_put_off_without_knowing_of_each_other_wait_alike(relays: tuple[Relay, Relay]) -> None:
    one, two = relays
    two.journal.ledger = Ledger()
    for each in (one, two):
        each.released.set()
        await each.takes(RECORD)
    ours, theirs = (each.spool.delayed[0].delay for each in (one, two))
    assert ours == pytest.approx(theirs, abs=1e-3)
