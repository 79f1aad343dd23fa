"""Poison: one record among many that breaks whatever touches it."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from relayfleet.protocol.relay_config import Broker, RelayConfig, Source
from relayfleet.relay.delivery import patience, worker
from relayfleet.relay.delivery.sources import SourcesInTurn
from relayfleet.relay.delivery.suspects import DEADLY, FAULTS, SUSPICIOUS, Suspects
from relayfleet.relay.delivery.worker import DeliveryService
from relayfleet.relay.routing.lookup import Answer
from relayfleet.relay.routing.resolver import Resolver
from relayfleet.relay.spool.interface import Seen, SpoolUnavailable
from relayfleet.relay.spool.record import Recipient, Record
from tests.fakes.journal import MemoryJournal
from tests.fakes.spool import MemoryHeld, MemorySpool


class NoSuchDomain:
    """Every domain is missing, so that every record bounces at once."""

    async def ask(self, name: str, kind: str) -> Answer:
        return Answer((), 60.0, exists=False)


class FragileJournal(MemoryJournal):
    """Breaks on one record."""

    async def seen(self, record: Record) -> Seen:
        if record.id == "poison":
            raise ZeroDivisionError("a fault of ours")
        return await MemoryJournal.seen(self, record)


def service(spool: MemorySpool, journal: MemoryJournal) -> DeliveryService:
    config = RelayConfig("test/pool", "eu", Broker(()), ())
    sources = SourcesInTurn((Source("pod", "", "relay.test"),))
    return DeliveryService(config, spool, Resolver(NoSuchDomain()), journal, sources, "relay.test", random=Random(1))


def record(name: str) -> Record:
    return Record(name, "", (Recipient("b@nowhere.test"),), b"X: y\r\n\r\n", accepted_at=1e12)


async def handle(subject: DeliveryService, spool: MemorySpool, deliveries: int) -> MemoryHeld:
    held = await spool.take()
    held.deliveries = deliveries
    await subject._handle(held)
    return held


async def test_a_record_that_our_code_fails_on_goes_back_and_then_to_quarantine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "FAULT_PAUSE_SECONDS", 0.0)
    spool = MemorySpool()
    subject = service(spool, FragileJournal())
    await spool.put(record("poison"))
    for deliveries in range(1, FAULTS):
        assert (await handle(subject, spool, deliveries)).released
    assert (await handle(subject, spool, FAULTS)).settled
    assert [each.id for each in spool.quarantined] == ["poison"]
    assert "ZeroDivisionError" in spool.quarantined[0].last_answer


async def test_of_many_records_that_came_back_with_a_killer_only_the_first_is_quarantined() -> None:
    spool = MemorySpool()
    subject = service(spool, MemoryJournal())
    for name in ("killer", "innocent", "bystander"):
        await spool.put(record(name))
    for _ in range(3):
        await handle(subject, spool, DEADLY)
    assert [each.id for each in spool.quarantined] == ["killer"]
    assert subject.counters.records_settled == 2


async def test_suspects_are_handled_one_at_a_time_and_others_pass_them() -> None:
    spool, suspects, order = MemorySpool(), Suspects(), []

    async def watch(name: str, deliveries: int) -> None:
        async with suspects.watched(MemoryHeld(spool, record(name), deliveries=deliveries)):
            order.append(f"+{name}")
            await asyncio.sleep(0)
            order.append(f"-{name}")

    await asyncio.gather(watch("one", SUSPICIOUS), watch("two", SUSPICIOUS), watch("new", 1))
    assert order.index("-one") < order.index("+two")
    assert order.index("+new") < order.index("+two")


async def test_records_of_relays_that_died_one_after_the_other_do_not_wait_for_each_other() -> None:
    """Three relays were shot with these in hand: hundreds of records, and nothing is wrong with any."""
    spool, suspects, inside = MemorySpool(), Suspects(), asyncio.Barrier(50)

    async def watch(name: str) -> None:
        async with suspects.watched(MemoryHeld(spool, record(name), deliveries=4)):
            await inside.wait()

    async with asyncio.timeout(20):
        await asyncio.gather(*(watch(str(number)) for number in range(50)))


async def test_a_record_that_somebody_else_left_uncertain_is_told_as_such(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "OPEN_CLAIM_SECONDS", 0.0)
    spool, journal = MemorySpool(), MemoryJournal()
    subject = service(spool, journal)
    journal.known[record("one").key] = Seen(uncertain=frozenset({"b@nowhere.test"}))
    await spool.put(record("one"))
    with caplog.at_level("INFO"):
        await handle(subject, spool, 2)
    assert subject.counters.recipients == {"Uncertain": 1}
    assert "id=one attempt=0 class=Uncertain" in caplog.text
    assert len(spool.delayed) == 1


async def test_a_queue_that_is_away_does_not_make_a_record_suspicious(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", (0.0,) * 10)
    spool = MemorySpool()
    subject = service(spool, MemoryJournal())
    await spool.put(record("one"))
    held = await spool.take()
    spool.fail_next.extend(SpoolUnavailable("leader lost") for _ in range(8))
    await subject._handle(held)
    assert held.settled
    assert not held.released
