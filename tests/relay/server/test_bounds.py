"""Bounds: sessions, addresses, memory, time. Each is reached, answered as the standard says, and freed again."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.protocol.relay_config import Limits
from tests.fakes.spool import MemorySpool
from tests.relay.server.harness import GateSpool, config, connected, eventually, serving

MESSAGE = b"Subject: x\r\n\r\nhi\r\n.\r\n"


@pytest.mark.parametrize(
    ("limits", "answer"),
    [(Limits(sessions=2), b"421 4.3.2 "), (Limits(sessions_per_address=2), b"421 4.7.0 ")],
    ids=["in total", "by address"],
)
async def test_one_session_too_many_is_told_so(limits: Limits, answer: bytes) -> None:
    async with serving(config(limits=limits)) as server, connected(server):
        async with connected(server), connected(server, greeted=False) as third:
            assert (await third.reply()).startswith(answer)
            assert await third.rest() == b""
        await eventually(lambda: server.counters.sessions_open == 1, "one left")
        async with connected(server):
            pass


async def test_sessions_by_address_count_the_clients_behind_a_balancer() -> None:
    settings = config(limits=Limits(sessions_per_address=1), proxies=("127.0.0.0/8",))
    async with serving(settings) as server, connected(server, greeted=False) as one:
        one.send(b"PROXY TCP4 192.0.2.1 198.18.0.1 40000 25\r\n")
        assert (await one.reply()).startswith(b"220")
        async with connected(server, greeted=False) as two:
            two.send(b"PROXY TCP4 192.0.2.2 198.18.0.1 40000 25\r\n")
            assert (await two.reply()).startswith(b"220")
        async with connected(server, greeted=False) as again:
            again.send(b"PROXY TCP4 192.0.2.1 198.18.0.1 40000 25\r\n")
            assert (await again.reply()).startswith(b"421 4.7.0")


async def test_bodies_of_all_sessions_share_one_budget() -> None:
    limits = Limits(message_bytes=100_000, memory_bytes=150_000)
    spool = GateSpool()
    async with serving(config(limits=limits), spool) as server, connected(server) as first:
        await first.envelope()
        first.send(b"x" * 90_000 + b"\r\n.\r\n")
        await spool.asked.wait()
        assert server.memory_used > 90_000, "charged until the confirm"
        async with connected(server) as second:
            await second.hello()
            assert (await second.say(b"MAIL FROM:<a@b.c> SIZE=90000")).startswith(b"452 4.3.1")
            await second.envelope()
            second.send(b"x" * 90_000 + b"\r\n.\r\n")
            assert (await second.reply()).startswith(b"452 4.3.1")
            spool.opened.set()
            assert (await first.reply()).startswith(b"250")
            await second.envelope()
            second.send(b"x" * 90_000 + b"\r\n.\r\n")
            assert (await second.reply()).startswith(b"250"), "there is room again"
        assert server.memory_used == 0


async def test_a_silent_client_is_closed_by_421() -> None:
    async with serving(config(limits=Limits(command_seconds=0.1))) as server, connected(server) as client:
        assert (await client.rest()).startswith(b"421 4.4.2 ")


async def test_a_client_that_sends_a_command_byte_by_byte_is_closed_by_421() -> None:
    async with serving(config(limits=Limits(command_seconds=0.3))) as server, connected(server) as client:
        trickle = asyncio.create_task(_trickle(client.writer))
        assert (await client.rest()).startswith(b"421 4.4.2 ")
        trickle.cancel()


async def test_a_message_that_trickles_is_closed_by_421() -> None:
    spool = MemorySpool()
    settings = config(limits=Limits(data_seconds=0.3))
    async with serving(settings, spool) as server:
        async with connected(server) as client:
            await client.envelope()
            trickle = asyncio.create_task(_trickle(client.writer))
            assert (await client.rest()).startswith(b"421 4.4.2 ")
            trickle.cancel()
        await eventually(lambda: server.counters.sessions_open == 0, "closed")
        assert server.memory_used == 0
    assert spool.stored == []


async def _trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.02)


async def test_a_client_that_waits_for_a_slow_confirm_is_not_timed_out() -> None:
    spool = GateSpool()
    async with serving(config(publish_timeout=60.0), spool) as server, connected(server) as client:
        await client.envelope()
        short = Limits(command_seconds=0.5, data_seconds=0.5)
        await server.reload(config(limits=short, publish_timeout=60.0))
        client.send(MESSAGE)
        await spool.asked.wait()
        async with connected(server) as other:
            assert (await other.rest()).startswith(b"421"), "time passes for others"
        spool.opened.set()
        assert (await client.reply()).startswith(b"250")


async def test_a_session_ends_after_its_number_of_mails_and_never_within_one() -> None:
    spool = MemorySpool()
    async with serving(config(limits=Limits(session_messages=2)), spool) as server, connected(server) as client:
        for _ in range(2):
            await client.envelope()
            client.send(MESSAGE)
            assert (await client.reply()).startswith(b"250")
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"421 4.3.2 ")
        assert await client.rest() == b""
    assert len(spool.stored) == 2


async def test_quit_of_an_old_session_is_answered_as_ever() -> None:
    async with serving(config(limits=Limits(session_seconds=0.0))) as server, connected(server) as client:
        assert (await client.say(b"QUIT")).startswith(b"221 ")


async def test_an_old_session_finishes_its_mail_and_ends_at_the_next_command() -> None:
    async with serving() as server, connected(server) as client:
        await client.envelope()
        await server.reload(config(limits=Limits(session_seconds=0.0)))
        client.send(MESSAGE)
        assert (await client.reply()).startswith(b"250")
        assert (await client.say(b"NOOP")).startswith(b"421 4.3.2")


async def test_an_old_session_that_says_nothing_is_told_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayfleet.relay.server.session.SILENCE_SECONDS", 0.1)
    async with serving(config(limits=Limits(session_seconds=0.2))) as server, connected(server) as client:
        assert (await client.rest()).startswith(b"421 4.3.2 ")


async def test_one_session_that_floods_does_not_starve_the_others() -> None:
    async with serving() as server, connected(server) as noisy, connected(server) as quiet:
        noisy.send(b"NOOP\r\n" * 100_000)
        before = server.counters.received_bytes
        await eventually(lambda: server.counters.received_bytes > before, "the flood is being handled")
        assert (await quiet.hello()).startswith(b"250")
        assert server.counters.received_bytes - before < 600_000
