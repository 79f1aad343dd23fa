"""A probe mail is thrown away by whichever relay takes it: no lookup, no connection, no claim, no report."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayfleet.relay.discard import Discard
from relayfleet.relay.spool.interface import SpoolUnavailable
from tests.relay.delivery.desk import a_record, desk, until

ADDRESS = "3f9c0d@discard.relayfleet.invalid"
CLOSED_PORT = 9


@pytest.fixture
def discard(tmp_path: Path) -> Discard:
    file = tmp_path / "discard"
    file.write_text("3f9c0d")
    return Discard(file)


async def test_a_probe_is_settled_and_nothing_else_happens(discard: Discard, caplog: pytest.LogCaptureFixture) -> None:
    async with desk({}, CLOSED_PORT, discard=discard) as subject:
        await subject.deliver(a_record(ADDRESS, sender=ADDRESS))
        counters = subject.service.counters
        assert subject.fates == {"Discarded": 1}
        assert (counters.records_settled, counters.records_released, counters.attempts) == (1, 0, 0)
        assert (subject.dns.asked, subject.service.pool.counters.dialed) == ([], 0)
        assert (subject.journal.claims, subject.journal.outcomes) == ([], [])
        assert (len(subject.spool.stored), subject.spool.held, subject.later) == (1, [], [])
    assert "3f9c0d" not in caplog.text, "the word is a secret"


async def test_a_queue_that_is_away_for_a_moment_is_asked_again(discard: Discard) -> None:
    async with desk({}, CLOSED_PORT, discard=discard) as subject:
        await subject.spool.put(a_record(ADDRESS, sender=ADDRESS))
        subject.spool.fail_next.append(SpoolUnavailable("away"))
        await until(lambda: subject.service.counters.records_settled == 1)
        assert subject.fates == {"Discarded": 1}


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [
        ("a@sender.test", ADDRESS),
        (ADDRESS, "bob@one.test"),
        ("other@discard.relayfleet.invalid", "other@discard.relayfleet.invalid"),
    ],
)
async def test_all_other_mail_to_that_domain_bounces(discard: Discard, sender: str, recipient: str) -> None:
    async with desk({}, CLOSED_PORT, discard=discard) as subject:
        await subject.deliver(a_record(recipient, sender=sender))
        assert "Discarded" not in subject.fates
        assert subject.dns.asked


async def test_a_probe_under_a_word_of_the_past_bounces_once_and_is_gone() -> None:
    async with desk({}, CLOSED_PORT) as subject:
        await subject.deliver(a_record(ADDRESS, sender=ADDRESS))
        await until(lambda: subject.fates == {"Permanent": 2})
        await until(lambda: not subject.spool.held)
        assert (len(subject.spool.stored), subject.later) == (2, [])
