"""The server of a Bulk pool: new mail waits for a place, is taken when there is one, and else put off; a probe does not wait."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from relayfleet.relay.discard import Discard
from relayfleet.relay.scavenger.scavenger import Scavenger
from relayfleet.relay.scavenger.window import LEAST, PERIOD
from relayfleet.relay.server import SmtpServer
from relayfleet.relay.spool.interface import SpoolFull, SpoolUnavailable
from relayfleet.relay.spool.record import Record
from tests.fakes.spool import MemorySpool
from tests.relay.server.harness import PATIENCE, Client, GateSpool, connected, eventually, serving
from tests.relay.server.test_probes import ADDRESS, WORD, full

MESSAGE = b"Subject: x\r\n\r\nhi\r\n.\r\n"
BUSY = b"451 4.3.2 The queue is busy with other mail, try again later\r\n"


def bulk(turn_seconds: float = PATIENCE) -> Scavenger:
    """In the middle of a minute, for as long as it takes."""
    return Scavenger(bulk=True, turn_seconds=turn_seconds, wall=lambda: PERIOD / 2)


async def fill(server: SmtpServer, scavenger: Scavenger, stack: contextlib.AsyncExitStack) -> list[Client]:
    """Clients whose mail is on its way into the queue."""
    clients = [await stack.enter_async_context(connected(server)) for _ in range(LEAST)]
    for each in clients:
        await each.envelope()
        each.send(MESSAGE)
    await eventually(lambda: scavenger.in_flight == LEAST, "all places are taken")
    return clients


async def test_mail_without_a_place_is_put_off_and_no_fault_of_the_relay() -> None:
    spool, scavenger = GateSpool(), bulk(turn_seconds=0.05)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(spool=spool, scavenger=scavenger))
        before = await fill(server, scavenger, stack)
        client = await stack.enter_async_context(connected(server))
        await client.envelope()
        client.send(MESSAGE)
        assert await client.reply() == BUSY
        assert (server.counters.refused, server.deferred) == ({"451 4.3.2 busy": 1}, 0)
        assert scavenger.waited_seconds >= 0.05
        spool.opened.set()
        for each in before:
            assert (await each.reply()).startswith(b"250")
        await client.envelope()
        client.send(MESSAGE)
        assert (await client.reply()).startswith(b"250"), "the session goes on"
        assert (scavenger.in_flight, server.memory_used) == (0, 0)
    assert len(spool.stored) == LEAST + 1


async def test_mail_that_waits_is_taken_when_a_place_is_free() -> None:
    spool, scavenger = GateSpool(), bulk()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(spool=spool, scavenger=scavenger))
        await fill(server, scavenger, stack)
        client = await stack.enter_async_context(connected(server))
        await client.envelope()
        client.send(MESSAGE)
        waiting = asyncio.create_task(client.reply())
        async with connected(server) as other:
            assert (await other.hello()).startswith(b"250"), "others are answered meanwhile"
        assert not waiting.done()
        spool.opened.set()
        assert (await waiting).startswith(b"250")
    assert len(spool.stored) == LEAST + 1


async def test_mail_whose_client_went_while_it_waited_is_not_stored_since_it_comes_again() -> None:
    spool, scavenger = GateSpool(), bulk()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(spool=spool, scavenger=scavenger))
        before = await fill(server, scavenger, stack)
        async with connected(server) as client:
            await client.envelope()
            client.send(MESSAGE)
            await eventually(lambda: len(server._services.tasks) == LEAST + 1, "it waits")
        spool.opened.set()
        for each in before:
            assert (await each.reply()).startswith(b"250")
        await eventually(lambda: not server._services.tasks, "all is done")
        assert (len(spool.stored), scavenger.in_flight, server.memory_used) == (LEAST, 0, 0)
        assert scavenger.waited_seconds < PATIENCE / 2, "it had its turn"
        assert server.counters.refused == {"451 4.3.2 gone": 1}, "it was not put off"


async def test_a_probe_waits_for_no_place_and_takes_none(tmp_path: Path) -> None:
    file = tmp_path / "discard"
    file.write_bytes(WORD + b"\n")

    class OnlyProbes(GateSpool):
        async def put(self, record: Record) -> None:
            await (MemorySpool.put if ADDRESS.decode() in record.sender else GateSpool.put)(self, record)

    scavenger = bulk()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            serving(spool=OnlyProbes(), scavenger=scavenger, discard=Discard(file))
        )
        await fill(server, scavenger, stack)
        client = await stack.enter_async_context(connected(server))
        assert (await full(client)).startswith(b"250")
        assert (server.counters.probes, scavenger.in_flight) == (1, LEAST)


async def test_confirms_open_the_window_what_is_not_stored_closes_it_and_a_full_queue_says_nothing() -> None:
    """By a clock that stands, one mail at a time: places that nobody uses do not become more."""
    spool, scavenger = MemorySpool(), Scavenger(bulk=True, clock=float, wall=lambda: PERIOD / 2)
    async with serving(spool=spool, scavenger=scavenger) as server, connected(server) as client:

        async def send() -> bytes:
            await client.envelope()
            client.send(MESSAGE)
            return await client.reply()

        for _ in range(10):
            assert (await send()).startswith(b"250")
        assert scavenger.window.size == LEAST + 1
        spool.fail_next.append(SpoolFull("quota"))
        assert (await send()).startswith(b"452")
        assert scavenger.window.size == LEAST + 1
        spool.fail_next.append(SpoolUnavailable("no majority"))
        assert (await send()).startswith(b"451 4.3.0")
        assert scavenger.window.size == LEAST
        assert scavenger.in_flight == 0


async def test_mail_that_is_stored_gets_its_250_whatever_the_window_makes_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scavenger = bulk()

    def fault(*told: object, **more: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(scavenger.window), "confirmed", fault)
    async with serving(spool=MemorySpool(), scavenger=scavenger) as server, connected(server) as client:
        await client.envelope()
        client.send(MESSAGE)
        assert (await client.reply()).startswith(b"250")
        assert scavenger.in_flight == 0
