"""A dependency that does not answer puts new mail off, by its name; nothing else, and no probe, is touched by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayfleet.relay.discard import Discard
from tests.fakes.spool import MemorySpool
from tests.relay.server.harness import config, connected, serving
from tests.relay.server.test_probes import ADDRESS, WORD, full

MAIL, PROBE = b"MAIL FROM:<me@here.example>", b"MAIL FROM:<" + ADDRESS + b">"


class Switch:
    """What does not answer now."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __call__(self) -> str:
        return self.name


async def test_mail_is_put_off_by_name_and_taken_when_it_is_back() -> None:
    down, spool = Switch("accounts"), MemorySpool()
    async with serving(spool=spool, defers_for=down) as server, connected(server) as client:
        await client.hello()
        assert await client.say(MAIL) == b"451 4.3.0 Dependency accounts does not answer, try again later\r\n"
        assert (await client.say(b"RCPT TO:<you@there.example>")).startswith(b"503")
        assert (await client.say(b"NOOP")).startswith(b"250")
        down.name = ""
        await client.envelope()
        client.send(b"hi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250")
    assert len(spool.stored) == 1


async def test_new_sessions_are_greeted_as_ever_and_no_relay_counts_it_as_its_own_failure() -> None:
    async with serving(defers_for=Switch("db")) as server:
        for _ in range(3):
            async with connected(server) as client:
                await client.hello()
                assert (await client.say(MAIL)).startswith(b"451 4.3.0")
        assert server.deferred == 0
        assert server.counters.refused == {"451 4.3.0 dependency": 3}


async def test_a_mail_that_was_begun_is_finished() -> None:
    down, spool = Switch(), MemorySpool()
    async with serving(spool=spool, defers_for=down) as server, connected(server) as client:
        await client.envelope()
        down.name = "db"
        client.send(b"hi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250")
        assert (await client.say(MAIL)).startswith(b"451 4.3.0")
    assert len(spool.stored) == 1


@pytest.fixture
def discard(tmp_path: Path) -> Discard:
    file = tmp_path / "discard"
    file.write_bytes(WORD)
    return Discard(file)


async def test_probes_are_taken_all_the_same(discard: Discard) -> None:
    spool = MemorySpool()
    async with (
        serving(spool=spool, discard=discard, defers_for=Switch("db")) as server,
        connected(server) as client,
    ):
        assert (await full(client)).startswith(b"250")
        client.send(PROBE + b"\r\nRCPT TO:<" + ADDRESS + b">\r\nRSET\r\n")
        assert [(await client.reply())[:3] for _ in range(3)] == [b"250"] * 3
        assert (await client.say(MAIL)).startswith(b"451 4.3.0"), "on the same session"
        assert server.counters.probes == 1


async def test_strangers_are_not_told() -> None:
    async with serving(config(allowed=()), defers_for=Switch("db")) as server, connected(server) as client:
        await client.hello()
        assert (await client.say(MAIL)).startswith(b"530 5.7.0")
