"""What the journal is told of attempts, with a receiving server that follows a script."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from relayfleet.relay.delivery import worker
from relayfleet.relay.spool.interface import SpoolUnavailable
from tests.relay.delivery.desk import Desk, a_record, desk
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
    monkeypatch.setattr(worker, "PATIENCE", (0.0, 0.0))
    subject.journal.fail_events.extend([SpoolUnavailable("away")] * 2)
    await subject.deliver(a_record("x+rcpt-451-1x@one.test"))
    assert len(subject.journal.told) == 1  # the third time
    subject.journal.fail_events.extend([SpoolUnavailable("away")] * 3)
    await subject.deliver(a_record("y+rcpt-451-1x@one.test"))
    assert len(subject.later) == 2
    assert len(subject.journal.told) == 1
    assert subject.service.counters.events_lost == 1
    assert "not in the journal's events: away" in caplog.text


async def test_an_outcome_says_where_it_was_said(subject: Desk) -> None:
    await subject.deliver(a_record("good@one.test"))
    (claim,) = subject.journal.claims
    assert subject.journal.places == [claim[2:]]
    assert all(claim[2:])
    assert subject.journal.told == []
