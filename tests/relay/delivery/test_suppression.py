"""Nothing is sent to whom the suppression list names: what a receiving server hears, what becomes of the record, and what the sender is told."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import SuppressionEntry
from relayfleet.relay.spool.record import Recipient
from relayfleet.relay.suppression.suppression import SuppressionList
from tests.fakes.peer import Peer, peer
from tests.relay.delivery.desk import Desk, a_record, desk, until
from tests.relay.delivery.test_signing import ZONE, Receiver


class Listed:
    """The file with the list."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "bounced" / "addresses.txt"
        self.file.parent.mkdir()
        self.list = SuppressionList(folder, [SuppressionEntry("bounced", "addresses.txt")])

    async def say(self, *lines: str) -> None:
        self.file.write_text("\n".join(lines))
        await self.list.read()


@pytest.fixture
def listed(tmp_path: Path) -> Listed:
    return Listed(tmp_path)


@asynccontextmanager
async def scene(listed: Listed) -> AsyncIterator[tuple[Desk, Receiver, Peer]]:
    receiver = Receiver()
    async with peer(receiver) as running, desk(ZONE, running.port, suppression=listed.list) as subject:
        yield subject, receiver, running


def recipients(running: Peer) -> list[str]:
    """To whom the receiving server was asked to deliver, but for reports to the sender."""
    heard = (line for talk in running.talks for line in talk.heard if line.startswith("RCPT"))
    return [line.split("<")[1].split(">")[0] for line in heard if "a@sender.test" not in line]


async def test_who_is_listed_gets_nothing_and_the_sender_a_report_and_all_others_the_mail(
    listed: Listed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await listed.say("Bob@one.test", "@two.test")
    async with scene(listed) as (subject, receiver, running):
        await subject.deliver(a_record("bob@one.test", "rob@one.test", "carol@two.test"))
        await until(lambda: subject.fates.get("Delivered") == 2)
        assert recipients(running) == ["rob@one.test"]
        assert subject.fates == {"Delivered": 2, "Permanent": 2}, "the report is one of the delivered"
        assert subject.later == []
        (report,) = (each for each in receiver.mails if b"multipart/report" in each)
        assert b"Final-Recipient: rfc822;bob@one.test\r\nAction: failed\r\nStatus: 5.7.1\r\n" in report
        assert b"the pool's suppression list has bob@one.test: nothing is sent there" in report
        assert b"the pool's suppression list has @two.test: nothing is sent there" in report
        assert b"rob@one.test" not in report
        assert subject.service.counters.answers["", "Suppressed"] == 2
        assert (
            "class=Permanent reason=Suppressed from=<a@sender.test> to=<bob@one.test> source=- host=- address=- tls=no phase=local code=0 status=5.7.1"
            in caplog.text
        )
        assert ("carol@two.test", "A") not in subject.dns.asked
        assert not any(name == "two.test" for name, _ in subject.dns.asked)


async def test_all_of_whose_recipients_are_listed_no_peer_is_asked(listed: Listed) -> None:
    await listed.say("bob@one.test")
    async with scene(listed) as (subject, _, running):
        await subject.deliver(a_record('"bob"@ONE.test', sender=""))
        assert (running.talks, subject.dns.asked, subject.journal.claims) == ([], [], [])
        assert (subject.fates, subject.spool.held, subject.later) == ({"Permanent": 1}, [], [])
        assert subject.service.counters.double_bounces == 1


async def test_who_asked_for_no_report_gets_none(listed: Listed) -> None:
    await listed.say("bob@one.test")
    async with scene(listed) as (subject, _, running):
        await subject.deliver(a_record(recipients=(Recipient("bob@one.test", "NEVER"),)))
        assert (running.talks, len(subject.spool.stored)) == ([], 1)


async def test_who_gets_listed_while_his_mail_waits_is_not_sent_to_and_who_leaves_the_list_is(listed: Listed) -> None:
    await listed.say("carol@one.test")
    async with scene(listed) as (subject, receiver, running):
        receiver.refuse["RCPT"] = b"451 4.2.0 later\r\n"
        await subject.deliver(a_record("bob@one.test", "rob@one.test", sender=""))
        assert len(subject.later) == 1
        receiver.refuse.clear()
        await listed.say("bob@one.test")
        subject.spool.elapse()
        await until(lambda: subject.fates.get("Delivered") == 1)
        assert recipients(running) == ["bob@one.test", "rob@one.test", "rob@one.test"]
        assert subject.fates == {"Transient": 2, "Permanent": 1, "Delivered": 1}
        await listed.say()
        await subject.deliver(a_record("bob@one.test"))
        assert recipients(running)[3:] == ["bob@one.test"]


async def test_without_a_readable_list_mail_waits_unsent_and_goes_when_it_is_there(
    listed: Listed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await listed.list.read()
    async with scene(listed) as (subject, _, running):
        await subject.deliver(a_record("bob@one.test", "rob@one.test", "carol@two.test"))
        assert (running.talks, subject.dns.asked) == ([], [])
        (waiting,) = subject.later
        assert len(waiting.recipients) == 3
        assert waiting.last_answer.startswith(
            "4.3.5 mail is kept back: entry addresses.txt of Secret bounced is not mounted"
        )
        assert "class=Transient reason=SuppressionListUnavailable" in caplog.text
        await listed.say("bob@one.test")
        subject.spool.elapse()
        await until(lambda: subject.fates.get("Permanent") == 1 and subject.fates.get("Delivered") == 3)
        assert sorted(recipients(running)) == ["carol@two.test", "rob@one.test"]


async def test_a_list_that_becomes_unreadable_holds_as_it_was(listed: Listed) -> None:
    await listed.say("bob@one.test")
    listed.file.write_bytes(b"\xff")
    await listed.list.read()
    async with scene(listed) as (subject, _, running):
        await subject.deliver(a_record("bob@one.test", "rob@one.test", sender=""))
        assert recipients(running) == ["rob@one.test"]
        assert subject.fates == {"Delivered": 1, "Permanent": 1}
