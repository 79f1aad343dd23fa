"""Mail that its sender gives up before the pool does: when it is tried, when not any more, and what the sender hears."""

from __future__ import annotations

import logging
import time

import pytest

from relayfleet.protocol.relay_config import Retry
from tests.fakes.peer import peer
from tests.relay.delivery.desk import a_record, desk, until
from tests.relay.delivery.test_signing import ZONE, Receiver

HOUR = 3600.0
POOL = Retry(lifetime=24 * HOUR)


def reports(receiver: Receiver) -> list[bytes]:
    return [each for each in receiver.mails if b"multipart/report" in each]


async def test_a_mail_in_its_time_is_delivered() -> None:
    receiver, now = Receiver(), time.time()
    async with peer(receiver) as running, desk(ZONE, running.port, retry=POOL) as subject:
        await subject.deliver(a_record("bob@one.test", accepted_at=now, expires_at=now + HOUR))
        assert (subject.fates, reports(receiver)) == ({"Delivered": 1}, [])


async def test_after_its_time_nobody_is_asked_and_the_sender_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    receiver, now = Receiver(), time.time()
    async with peer(receiver) as running, desk(ZONE, running.port, retry=POOL) as subject:
        await subject.deliver(a_record("bob@one.test", "carol@two.test", accepted_at=now - 60, expires_at=now - 1))
        await until(lambda: len(reports(receiver)) == 1)
        assert subject.later == []
        assert [line for talk in running.talks for line in talk.heard if "bob@" in line or "carol@" in line] == []
        (report,) = reports(receiver)
        assert report.count(b"Status: 4.4.7\r\n") == 2
        assert b"not delivered in the time that its sender allows" in report
        assert subject.service.counters.answers["", "Expired"] == 2
        assert "class=Permanent reason=Expired" in caplog.text


async def test_the_report_has_the_last_answer() -> None:
    receiver, now = Receiver(), time.time()
    async with peer(receiver) as running, desk(ZONE, running.port, retry=POOL) as subject:
        record = a_record(
            "bob@one.test", accepted_at=now - 60, expires_at=now - 1, attempt=1, last_answer="451 4.2.0 later"
        )
        await subject.deliver(record)
        await until(lambda: len(reports(receiver)) == 1)
        assert b"in the time that its sender allows; last answer: 451 4.2.0 later" in reports(receiver)[0]


async def test_the_time_travels_with_the_mail_from_attempt_to_attempt_and_cuts_the_wait() -> None:
    receiver, now = Receiver(), time.time()
    receiver.refuse["RCPT TO:<bob"] = b"451 4.2.0 later\r\n"
    async with peer(receiver) as running, desk(ZONE, running.port, retry=POOL) as subject:
        await subject.deliver(a_record("bob@one.test", accepted_at=now, expires_at=now + 600, attempt=5))
        (waiting,) = subject.later
        assert waiting.expires_at == now + 600
        assert waiting.next_at <= now + 600 + 1, "32 minutes without it"


async def test_no_life_is_longer_than_the_pools() -> None:
    receiver, now = Receiver(), time.time()
    receiver.refuse["RCPT TO:<bob"] = b"451 4.2.0 later\r\n"
    async with peer(receiver) as running, desk(ZONE, running.port, retry=POOL) as subject:
        await subject.deliver(a_record("bob@one.test", accepted_at=now - 25 * HOUR, expires_at=now + HOUR))
        await until(lambda: len(reports(receiver)) == 1)
        assert subject.later == []


async def test_a_report_of_ours_does_not_expire_with_the_mail() -> None:
    now = time.time()
    receiver = Receiver()
    receiver.refuse["RCPT TO:<a@sender"] = b"451 4.2.0 later\r\n"
    async with peer(receiver) as running, desk(ZONE, running.port, retry=POOL) as subject:
        await subject.deliver(a_record("bob@one.test", accepted_at=now - 60, expires_at=now - 1))
        await until(lambda: len(subject.later) == 1)
        (report,) = subject.later
        assert (report.sender, report.expires_at) == ("", 0.0)
