"""Mail to a receiving server that follows a script. What the server remembers is the judge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from relayfleet.protocol.relay_config import Delivery, Source
from tests.relay.delivery.desk import BODY, Desk, a_record, desk, until
from tests.sink.certificate import self_signed
from tests.sink.client import SinkClient
from tests.sink.server import Options, Sink

ZONE = {
    ("one.test", "MX"): ["10 mx.one.test."],
    ("mx.one.test", "A"): ["127.0.0.1"],
    ("two.test", "A"): ["127.0.0.1"],
    ("three.test", "MX"): ["10 dead.three.test.", "20 mx.one.test."],
    ("dead.three.test", "A"): ["127.0.0.9"],
    ("null.test", "MX"): ["0 ."],
}


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink(Options(host="127.0.0.1", smtp_ports=(0,), http_port=0, keep_raw=50)) as running:
        yield running


@pytest.fixture
async def client(sink: Sink) -> SinkClient:
    return SinkClient(f"http://127.0.0.1:{sink.http_port}")


@pytest.fixture
async def subject(sink: Sink) -> AsyncIterator[Desk]:
    async with desk(ZONE, sink.smtp_ports[0]) as running:
        yield running


async def test_a_mail_arrives_byte_for_byte_and_the_record_is_gone(subject: Desk, client: SinkClient) -> None:
    await subject.deliver(a_record("bob@one.test", "carol@one.test"))
    (message,) = await client.messages()
    assert message["from"] == "a@sender.test"
    assert [each["address"] for each in message["recipients"]] == ["bob@one.test", "carol@one.test"]
    assert await client.raw(message["n"]) == BODY.replace(b"\r\n..", b"\r\n.")
    assert (subject.spool.held, list(subject.spool.waiting), subject.spool.delayed) == ([], [], [])


async def test_large_mails_arrive_byte_for_byte(subject: Desk, client: SinkClient) -> None:
    body = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"0123456789" * 7 + b"\r\n") * 60_000
    await subject.deliver(a_record("bob@one.test", message=body))
    (message,) = await client.messages()
    assert await client.raw(message["n"]) == body


async def test_recipients_of_several_domains_are_split_and_each_delivered_once(
    subject: Desk, client: SinkClient
) -> None:
    await subject.deliver(a_record("a@one.test", "b@two.test", "c@one.test"))
    messages = await client.messages()
    assert sorted(tuple(each["address"] for each in message["recipients"]) for message in messages) == [
        ("a@one.test", "c@one.test"),
        ("b@two.test",),
    ]


async def test_sessions_are_reused_and_limited_in_mails(sink: Sink, client: SinkClient) -> None:
    async with desk(
        ZONE, sink.smtp_ports[0], delivery=Delivery(sessions_per_destination=1, messages_per_session=10)
    ) as subject:
        await subject.deliver(*(a_record("bob@one.test") for _ in range(30)))
    assert len(await client.messages()) == 30
    assert (await client.stats())["sessions"] == 3


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_session_writes_no_dot_before_the_last_outcome_is_stated(
    sink: Sink, client: SinkClient, leaves: bool
) -> None:
    async with desk(ZONE, sink.smtp_ports[0], delivery=Delivery(sessions_per_destination=1)) as subject:
        subject.journal.hold = asyncio.Event()
        for _ in range(2):
            await subject.spool.put(a_record("bob@one.test"))
        await until(lambda: len(subject.journal.claims) == 2)
        await asyncio.sleep(0.1)
        assert len(await client.messages()) == 1
        if leaves:
            await subject.service.drain(0.0)
            assert subject.journal.withdrawn == [(subject.journal.claims[1][0], ("bob@one.test",))]
        else:
            subject.journal.hold.set()
            await until(lambda: subject.service.counters.records_settled == 2)
    assert len(await client.messages()) == (1 if leaves else 2)
    assert (await client.stats())["sessions"] == 1


async def test_never_more_sessions_to_a_destination_than_allowed(sink: Sink, client: SinkClient) -> None:
    await client.put_rules({"stage": "dot", "delay": 0.02})
    async with desk(ZONE, sink.smtp_ports[0], delivery=Delivery(sessions_per_destination=3)) as subject:
        for _ in range(40):
            await subject.spool.put(a_record("bob@one.test"))
        most = 0
        while subject.service.counters.records_settled < 40:
            most = max(most, (await client.stats())["sessions_open"])
    assert most == 3


async def test_a_refused_recipient_bounces_and_the_others_are_delivered(subject: Desk, client: SinkClient) -> None:
    await subject.deliver(a_record("good@one.test", "bad+rcpt-550@one.test"))
    await until(lambda: subject.service.counters.records_settled == 2)  # the report, too, was tried
    (message,) = [each for each in await client.messages() if each["from"]]
    assert [each["address"] for each in message["recipients"]] == ["good@one.test"]
    report = next(record for record in subject.spool.stored if record.sender == "")
    assert report.recipients[0].address == "a@sender.test"
    assert b"Final-Recipient: rfc822;bad+rcpt-550@one.test" in report.message


async def test_a_deferred_recipient_goes_on_in_one_successor(subject: Desk, client: SinkClient) -> None:
    await subject.deliver(a_record("good@one.test", "x+rcpt-451-1x@one.test", "y+rcpt-450-1x@two.test"))
    (successor,) = subject.spool.delayed
    assert [each.address for each in successor.record.recipients] == [
        "x+rcpt-451-1x@one.test",
        "y+rcpt-450-1x@two.test",
    ]
    assert successor.record.attempt == 1
    assert "451" in successor.record.last_answer
    assert successor.delay > 0
    subject.spool.elapse()
    await until(lambda: subject.service.counters.records_settled == 2)
    assert subject.fates["Delivered"] == 3
    addresses = [each["address"] for message in await client.messages() for each in message["recipients"]]
    assert sorted(addresses) == ["good@one.test", "x+rcpt-451-1x@one.test", "y+rcpt-450-1x@two.test"]


async def test_a_connection_lost_after_the_dot_is_uncertain_and_waits_ten_minutes(
    subject: Desk, client: SinkClient
) -> None:
    await subject.deliver(a_record("bob+dot-lost-1x@one.test"))
    assert subject.fates == {"Uncertain": 1}
    (successor,) = subject.spool.delayed
    assert successor.delay >= 600
    assert len(subject.journal.claims) == 1
    assert subject.journal.outcomes == []
    assert len(await client.messages()) == 1


async def test_null_mx_and_missing_domains_bounce_at_once(subject: Desk) -> None:
    await subject.deliver(a_record("bob@null.test", "bob@nowhere.test"))
    assert subject.fates["Permanent"] >= 2
    report = next(record for record in subject.spool.stored if record.sender == "")
    assert b"Status: 5.1.10" in report.message
    assert b"Status: 5.1.2" in report.message


async def test_a_dead_exchanger_is_passed_over_for_the_next(subject: Desk, client: SinkClient) -> None:
    await subject.deliver(a_record("bob@three.test"))
    assert len(await client.messages()) == 1
    await subject.deliver(a_record("bob@three.test"))
    assert subject.service.pool.counters.failed == 1


async def test_reports_are_never_answered_by_reports(subject: Desk) -> None:
    await subject.deliver(a_record("bad+rcpt-550@one.test", sender=""))
    assert subject.service.counters.double_bounces == 1
    assert len(subject.spool.stored) == 1


async def test_each_source_binds_its_address_and_says_its_name(sink: Sink, client: SinkClient) -> None:
    sources = (
        Source("eu-1", "127.0.0.21", "eu-1.mail.test", "127.0.0.21"),
        Source("eu-2", "127.0.0.22", "eu-2.mail.test", "127.0.0.22"),
        Source("elsewhere", "198.18.77.77", "elsewhere.mail.test", "198.18.77.77"),
    )
    async with desk(ZONE, sink.smtp_ports[0], sources) as subject:
        await subject.deliver(*(a_record("bob@one.test") for _ in range(6)))
        assert {(each["client"], each["helo"]) for each in await client.messages()} == {
            ("127.0.0.21", "eu-1.mail.test"),
            ("127.0.0.22", "eu-2.mail.test"),
        }
        assert subject.fates == {"Delivered": 6}


async def test_starttls_is_used_when_offered() -> None:
    options = Options(host="127.0.0.1", smtp_ports=(0,), http_port=0, keep_raw=2, tls=self_signed("mx.one.test"))
    body = b"Subject: large\r\n\r\n" + (b"0123456789" * 7 + b"\r\n") * 20_000
    async with Sink(options) as sink, desk(ZONE, sink.smtp_ports[0]) as subject:
        await subject.deliver(a_record("bob@one.test"), a_record("bob@one.test", message=body))
        client = SinkClient(f"http://127.0.0.1:{sink.http_port}")
        messages = await client.messages()
        assert [each["tls"][:4] for each in messages] == ["TLSv", "TLSv"]
        assert {await client.raw(each["n"]) for each in messages} == {BODY.replace(b"\r\n..", b"\r\n."), body}


async def test_draining_finishes_what_is_under_way_and_takes_nothing_new(sink: Sink, client: SinkClient) -> None:
    await client.put_rules({"stage": "dot", "delay": 0.3})
    async with desk(ZONE, sink.smtp_ports[0], delivery=Delivery(prefetch=2)) as subject:
        for _ in range(5):
            await subject.spool.put(a_record("bob@one.test"))
        await until(lambda: len(subject.journal.claims) == 2)
        await subject.service.drain(5.0)
        assert len(await client.messages()) == 2
        assert len(subject.spool.waiting) == 3
        assert subject.spool.held == []


async def test_what_is_not_finished_in_the_grace_goes_back_to_the_queue(sink: Sink, client: SinkClient) -> None:
    await client.put_rules({"stage": "rcpt", "do": "hang"})
    async with desk(ZONE, sink.smtp_ports[0]) as subject:
        await subject.spool.put(a_record("bob@one.test"))
        await until(lambda: subject.service.in_hand == 1)
        await asyncio.wait_for(subject.service.drain(0.1), 5.0)
        assert len(subject.spool.waiting) == 1
        assert await client.messages() == []
