"""250 means that the queue has it. Everything that can go wrong on the way to the queue, seen from the client."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from relayfleet.relay.spool.interface import SpoolFull, SpoolTooLarge, SpoolUnavailable
from relayfleet.relay.spool.record import Record
from tests.fakes.spool import MemorySpool
from tests.relay.server.harness import GateSpool, config, connected, eventually, serving

MESSAGE = b"Subject: x\r\n\r\nhi\r\n.\r\n"


async def test_250_comes_after_the_confirm_and_names_the_record() -> None:
    spool = GateSpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.envelope()
        client.send(MESSAGE)
        await spool.asked.wait()
        waiting = asyncio.create_task(client.reply())
        # The server lives on, and answers others, while this one gets no answer.
        async with connected(server) as other:
            assert (await other.hello()).startswith(b"250")
        assert not waiting.done()
        assert server.counters.accepted == 0
        spool.opened.set()
        answer = await waiting
    assert answer == b"250 2.0.0 Ok: queued as " + spool.stored[0].id.encode() + b"\r\n"
    assert (server.counters.accepted, server.memory_used) == (1, 0)


FAILURES = {
    "full": (SpoolFull("quota"), b"452 4.3.1 "),
    "too large": (SpoolTooLarge("frame"), b"552 5.3.4 "),
    "unavailable": (SpoolUnavailable("no majority"), b"451 4.3.0 "),
}


@pytest.mark.parametrize(("error", "answer"), FAILURES.values(), ids=FAILURES.keys())
async def test_what_the_queue_refuses_is_refused(error: Exception, answer: bytes) -> None:
    spool = MemorySpool()
    assert isinstance(error, (SpoolFull, SpoolTooLarge, SpoolUnavailable))
    spool.fail_next.append(error)
    async with serving(spool=spool) as server, connected(server) as client:
        await client.envelope()
        client.send(MESSAGE)
        assert (await client.reply()).startswith(answer)
        await client.envelope()
        client.send(MESSAGE)
        assert (await client.reply()).startswith(b"250"), "the session goes on"
        assert server.counters.refused == {answer.decode().strip(): 1}
        assert server.memory_used == 0
    assert len(spool.stored) == 1


class BrokenSpool(MemorySpool):
    async def put(self, record: Record) -> None:
        raise ZeroDivisionError


async def test_a_mistake_in_the_queue_is_451_and_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(spool=BrokenSpool()) as server, connected(server) as client:
        for _ in range(5):
            await client.envelope()
            client.send(MESSAGE)
            assert (await client.reply()).startswith(b"451 4.3.0 ")
    lines = [each for each in caplog.records if "storing failed unexpectedly" in each.getMessage()]
    assert 1 <= len(lines) < 5
    assert lines[0].exc_info


async def test_a_mistake_of_ours_ends_one_session_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server:
        with monkeypatch.context() as broken:
            broken.setattr("relayfleet.relay.server.trace.inspect", lambda message: 1 / 0)
            async with connected(server) as client:
                await client.envelope()
                client.send(MESSAGE)
                assert (await client.reply()).startswith(b"421 4.3.0 ")
                assert await client.rest() == b""
        await eventually(lambda: server.memory_used == 0, "its memory is free again")
        async with connected(server) as client:
            await client.envelope()
            client.send(MESSAGE)
            assert (await client.reply()).startswith(b"250")
    assert len(spool.stored) == 1


async def test_a_queue_that_never_answers_is_451() -> None:
    async with serving(config(publish_timeout=0.05), GateSpool()) as server, connected(server) as client:
        await client.envelope()
        client.send(MESSAGE)
        assert (await client.reply()).startswith(b"451 4.3.0 ")
        assert server.memory_used == 0


async def test_a_mail_stays_accepted_when_the_client_leaves_before_the_confirm() -> None:
    spool = GateSpool()
    async with serving(spool=spool) as server:
        async with connected(server) as client:
            await client.envelope()
            client.send(MESSAGE)
            await spool.asked.wait()
        spool.opened.set()
        await eventually(lambda: server.counters.accepted == 1, "accepted")
        await eventually(lambda: server.counters.sessions_open == 0, "closed")
        assert server.memory_used == 0
    assert len(spool.stored) == 1


async def test_a_client_that_leaves_within_the_message_leaves_nothing_behind() -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server:
        async with connected(server) as client:
            await client.envelope()
            client.send(b"x" * 10_000)
            await eventually(lambda: server.memory_used > 9000, "charged")
        await eventually(lambda: server.counters.sessions_open == 0, "closed")
        assert server.memory_used == 0
    assert spool.stored == []


async def test_a_session_that_waits_for_a_confirm_reads_no_more() -> None:
    spool = GateSpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.envelope()
        client.send(MESSAGE)
        await spool.asked.wait()
        received = server.counters.received_bytes
        flood = asyncio.create_task(_flood(client.writer))
        async with connected(server) as other:
            for _ in range(20):
                await other.say(b"NOOP")
            taken = server.counters.received_bytes - received
        assert taken <= 1000, "only the other session was read"
        assert not flood.done(), "the client's own buffers are full"
        flood.cancel()


async def _flood(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"NOOP\r\n" * 10_000)
        await writer.drain()


async def test_the_next_pipelined_transaction_waits_for_the_confirm_of_this_one() -> None:
    spool = GateSpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.envelope()
        following = b"MAIL FROM:<second@here.example>\r\nRCPT TO:<you@there.example>\r\nDATA\r\n"
        client.send(MESSAGE + following)
        await spool.asked.wait()
        spool.opened.set()
        codes = [(await client.reply())[:3] for _ in range(4)]
        assert codes == [b"250", b"250", b"250", b"354"]
        client.send(MESSAGE)
        assert (await client.reply()).startswith(b"250")
    assert [each.sender for each in spool.stored] == ["me@here.example", "second@here.example"]


async def test_an_accepted_mail_is_one_log_line_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    spool = MemorySpool()
    with caplog.at_level(logging.INFO, "relayfleet.relay.server"):
        async with serving(spool=spool) as server, connected(server) as client:
            await client.envelope()
            client.send(b"Subject: private\r\n\r\nprivate\r\n.\r\n")
            await client.reply()
    lines = [each.getMessage() for each in caplog.records if each.getMessage().startswith("accepted")]
    assert len(lines) == 1
    size = len(spool.stored[0].message)
    assert re.fullmatch(
        rf"accepted id={spool.stored[0].id} client=127\.0\.0\.1 credential=- sender=<me@here\.example> recipients=1 "
        rf"size={size} seconds=[0-9.]+",
        lines[0],
    )
    assert "private" not in caplog.text
