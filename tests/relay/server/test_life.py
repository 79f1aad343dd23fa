"""The server's life: reload, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import Limits, Listener
from relayfleet.relay.server import ListenError
from tests.fakes import ports
from tests.fakes.spool import MemorySpool
from tests.relay.server.certificates import trusting
from tests.relay.server.harness import LOOPBACK, GateSpool, config, connected, eventually, serving

MESSAGE = b"Subject: x\r\n\r\nhi\r\n.\r\n"


async def test_draining_refuses_what_is_new_and_finishes_what_was_begun() -> None:
    spool = GateSpool()
    async with (
        serving(spool=spool) as server,
        connected(server) as storing,
        connected(server) as sending,
        connected(server) as idle,
    ):
        await storing.envelope()
        storing.send(MESSAGE)
        await spool.asked.wait()
        await sending.envelope()
        drained = asyncio.create_task(server.drain())
        await asyncio.sleep(0)
        async with connected(server, greeted=False) as late:
            assert (await late.reply()).startswith(b"421 4.3.2 ")
        assert (await idle.say(b"MAIL FROM:<a@b.c>")).startswith(b"421 4.3.2 ")
        assert await idle.rest() == b""
        sending.send(MESSAGE)
        spool.opened.set()
        for client in (storing, sending):
            assert (await client.reply()).startswith(b"250")
            assert (await client.say(b"NOOP")).startswith(b"421 4.3.2 ")
            await client.close()
        await idle.close()
        await asyncio.wait_for(drained, 10)
    assert len(spool.stored) == 2


async def test_draining_waits_for_the_confirm_of_a_client_that_left() -> None:
    spool = GateSpool()
    async with serving(spool=spool) as server:
        async with connected(server) as client:
            await client.envelope()
            client.send(MESSAGE)
            await spool.asked.wait()
        drained = asyncio.create_task(server.drain())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(drained), 0.1)
        assert not drained.done()
        spool.opened.set()
        await asyncio.wait_for(drained, 10)
    assert len(spool.stored) == 1


async def test_a_session_that_stays_silent_while_draining_is_told_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayfleet.relay.server.session.SILENCE_SECONDS", 0.1)
    async with serving() as server, connected(server) as client:
        drained = asyncio.create_task(server.drain())
        assert (await client.rest()).startswith(b"421 4.3.2 ")
        await client.close()
        await asyncio.wait_for(drained, 10)


async def test_an_implicit_tls_client_of_a_draining_server_is_told_too(tls_folder: Path) -> None:
    async with serving(config(tls="Implicit"), tls_folder=tls_folder) as server:
        drained = asyncio.create_task(server.drain())
        await drained
        async with connected(server, tls=trusting(tls_folder), greeted=False) as client:
            assert (await client.reply()).startswith(b"421 4.3.2 ")


async def test_stopping_says_farewell_but_confirms_nothing_that_is_not_confirmed() -> None:
    spool, settings = GateSpool(), config(ports=tuple(ports.unused()))
    async with serving(settings, spool) as server, connected(server) as storing, connected(server) as idle:
        await storing.envelope()
        storing.send(MESSAGE)
        await spool.asked.wait()
        port = server.ports["smtp"][0]
        await server.stop()
        assert (await idle.rest()).startswith(b"421 4.3.2 ")
        assert await storing.rest() == b""
        assert server.memory_used == 0
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
    assert spool.stored == []


async def test_a_new_configuration_holds_for_open_sessions() -> None:
    async with serving() as server, connected(server) as client:
        await client.hello()
        await server.reload(config(allowed=(), limits=Limits(message_bytes=70_000)))
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"530 5.7.0")
        assert b"SIZE 70000" in await client.hello()
        await server.reload(config())
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"250")


async def test_a_configuration_that_cannot_be_used_changes_nothing() -> None:
    async with serving() as server, connected(server) as client:
        await client.hello()
        with pytest.raises(ValueError, match="no-network"):
            await server.reload(config(allowed=("no-network",), limits=Limits(message_bytes=70_000)))
        assert b"SIZE 70000" not in await client.hello()
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"250")


async def test_listeners_come_and_go_and_lanes_are_ports(tls_folder: Path) -> None:
    one, two, three = ports.unused(3)
    settings = config(ports=(one, two))
    async with serving(settings, tls_folder=tls_folder) as server, connected(server) as client:
        assert server.ports == {"smtp": (one, two)}
        other = Listener("smtps", (three,), "Implicit")
        await server.reload(dataclasses.replace(settings, listeners=(Listener("smtp", (one,), "StartTLS"), other)))
        assert server.ports == {"smtp": (one,), "smtps": (three,)}
        assert (await client.hello()).startswith(b"250"), "open sessions stay"
        async with connected(server) as again:
            assert b"STARTTLS" in await again.hello(), "the same port in another mode"
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", two)


async def test_a_port_that_is_taken_is_named_and_the_others_are_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with serving() as server:
            before = server.ports["smtp"]
            settings = config()
            wrong = dataclasses.replace(
                settings,
                listeners=(Listener("bad", (port,), "None"), *settings.listeners, Listener("new", (0,), "None")),
            )
            with pytest.raises(ListenError, match=f"listener bad cannot use port {port}"):
                await server.reload(wrong)
            assert server.ports["smtp"] == before
            assert len(server.ports["new"]) == 1


async def test_sessions_are_counted_out_however_they_end() -> None:
    async with serving(config(allowed=LOOPBACK), MemorySpool()) as server:
        for _ in range(50):
            async with connected(server) as client:
                client.send(b"QUIT\r\nNOOP\r\n")
        await eventually(lambda: server.counters.sessions_open == 0, "all out")
        assert server.counters.sessions == 50
