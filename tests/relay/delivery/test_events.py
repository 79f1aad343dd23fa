"""What the journal is told of attempts, with a receiving server that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from relayfleet.relay.delivery import patience
from relayfleet.relay.spool.interface import SpoolUnavailable
from tests.relay.delivery.desk import Desk, a_record, desk, until
from tests.sink.server import Options, Sink

ZONE = {("one.test", "A"): ["127.0.0.1"]}


@pytest.fixture
async def subject() -> AsyncIterator[Desk]:
    async with (
        Sink(Options(host="127.0.0.1", smtp_ports=(0,), http_port=0)) as sink,
        desk(ZONE, sink.smtp_ports[0]) as running,
    ):
        yield running


async def test_what_becomes_of_who_was_not_delivered_to_is_told_before_the_record_is_settled(subject: Desk) -> None:
    record = a_record("good@one.test", "bad+rcpt-550@one.test", "x+rcpt-451@one.test")
    await subject.deliver(record)
    told = {event.name: event for key, event in subject.journal.told if key == record.key}
    assert {name: event.recipients for name, event in told.items()} == {
        "bounced": ("bad+rcpt-550@one.test",),
        "deferred": ("x+rcpt-451@one.test",),
    }
    assert (told["bounced"].detail["code"], told["deferred"].detail["code"]) == (550, 451)
    assert told["deferred"].detail["next"] == pytest.approx(subject.later[0].next_at, abs=0.001)


async def test_mail_goes_on_without_its_events_when_the_journal_stays_away(
    subject: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", (0.0, 0.0))
    subject.journal.fail_events.extend([SpoolUnavailable("away")] * 2)
    await subject.deliver(a_record("x+rcpt-451-1x@one.test"))
    assert len(subject.journal.told) == 1  # the third time
    subject.journal.fail_events.extend([SpoolUnavailable("away")] * 3)
    await subject.deliver(a_record("y+rcpt-451-1x@one.test"))
    assert len(subject.later) == 2
    assert len(subject.journal.told) == 1
    assert subject.service.counters.events_lost == 1
    assert "not in the journal's events: away" in caplog.text


async def test_a_relay_that_leaves_settles_its_records_instead_of_waiting_for_the_journal(
    subject: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", (60.0,) * 5)
    subject.journal.fail_events.extend([SpoolUnavailable("away")] * 9)
    await subject.spool.put(a_record("good@one.test", "x+rcpt-451@one.test"))
    await until(lambda: len(subject.journal.fail_events) == 8)
    await subject.service.drain(10.0)
    assert subject.service.counters.records_settled == 1
    assert [each.recipients[0].address for each in subject.later] == ["x+rcpt-451@one.test"]


async def test_a_record_with_a_delivery_that_nobody_else_knows_of_does_not_wait_for_its_events(
    subject: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # When the relay died meanwhile, the mail would come twice.
    monkeypatch.setattr(patience, "PATIENCE", (60.0,) * 5)
    subject.journal.fail_outcomes.extend([SpoolUnavailable("away")] * 9)
    subject.journal.fail_events.extend([SpoolUnavailable("away")] * 9)
    async with asyncio.timeout(10):
        await subject.deliver(a_record("good@one.test", "x+rcpt-451@one.test"))
    assert subject.service.counters.records_settled == 1
    assert subject.service.counters.events_lost == 1


async def test_a_fault_of_ours_in_events_holds_up_no_mail(subject: Desk, caplog: pytest.LogCaptureFixture) -> None:
    subject.journal.fail_events.append(TypeError("no JSON"))
    await subject.deliver(a_record("x+rcpt-451@one.test"))
    assert subject.service.counters.records_settled == 1
    assert len(subject.later) == 1
    assert "Traceback" in caplog.text


async def test_an_outcome_says_where_it_was_said(subject: Desk) -> None:
    await subject.deliver(a_record("good@one.test"))
    (claim,) = subject.journal.claims
    assert subject.journal.places == [claim[2:]]
    assert all(claim[2:])
    assert subject.journal.told == []
