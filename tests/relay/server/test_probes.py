"""Probe mails: from the discard address to the discard address, without AUTH and before TLS, and nothing else on that ticket."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayfleet.relay.discard import Discard
from relayfleet.relay.server.limits import PROBE_BYTES, PROBES_PER_SECOND, Pace
from relayfleet.relay.spool.interface import SpoolFull, SpoolUnavailable
from tests.fakes.spool import MemorySpool
from tests.relay.server.certificates import trusting
from tests.relay.server.harness import Client, config, connected, serving
from tests.relay.server.test_authentication import PLAIN, secured

WORD = b"3f9c0d"
ADDRESS = WORD + b"@discard.relayfleet.invalid"
CLOSED = config(tls="StartTLS", allowed=())
"""AUTH is required, and to be had under TLS only."""


@pytest.fixture
def discard(tmp_path: Path) -> Discard:
    file = tmp_path / "discard"
    file.write_bytes(WORD + b"\n")
    return Discard(file)


async def begin(client: Client, address: bytes = ADDRESS) -> bytes:
    """EHLO and MAIL; the answer to MAIL."""
    await client.hello()
    return await client.say(b"MAIL FROM:<" + address + b">")


async def full(client: Client, body: bytes = b"Subject: probe\r\n\r\nprobe\r\n") -> bytes:
    """A whole probe; the answer to its dot."""
    assert (await begin(client)).startswith(b"250")
    assert (await client.say(b"RCPT TO:<" + ADDRESS + b">")).startswith(b"250")
    assert (await client.say(b"DATA")).startswith(b"354")
    client.send(body + b".\r\n")
    return await client.reply()


async def test_a_probe_needs_no_auth_is_stored_and_counted_apart(discard: Discard) -> None:
    spool = MemorySpool()
    async with serving(CLOSED, spool, discard=discard) as server, connected(server) as client:
        assert (await full(client)).startswith(b"250 2.0.0 Ok: queued as ")
        counters = server.counters
        assert (counters.probes, counters.accepted, counters.accepted_recipients, counters.accepted_bytes) == (
            1,
            0,
            0,
            0,
        )
    (record,) = spool.stored
    assert discard.takes(record)


async def test_the_domain_is_read_in_any_case_and_the_word_is_not(discard: Discard) -> None:
    async with serving(CLOSED, discard=discard) as server, connected(server) as client:
        assert (await begin(client, WORD + b"@Discard.RelayFleet.INVALID")).startswith(b"250")
        assert (await begin(client, ADDRESS.upper())).startswith(b"530 5.7.0")


@pytest.mark.parametrize(
    "address", [b"3f9c0e@discard.relayfleet.invalid", b"3f9c0d@relayfleet.invalid", b"", b"3f9c0d", b"a b@c"], ids=repr
)
async def test_a_wrong_word_is_a_stranger_without_auth(discard: Discard, address: bytes) -> None:
    async with serving(CLOSED, discard=discard) as server, connected(server) as client:
        assert (await begin(client, address)).startswith(b"530 5.7.0")


async def test_without_the_file_there_is_no_such_address_and_it_may_come_later(tmp_path: Path) -> None:
    file = tmp_path / "discard"
    async with serving(CLOSED, discard=Discard(file)) as server, connected(server) as client:
        assert (await begin(client)).startswith(b"530 5.7.0")
        file.write_bytes(b"\n")
        assert (await begin(client, b'""@discard.relayfleet.invalid')).startswith(b"530 5.7.0")
        file.write_bytes(WORD)
        assert (await begin(client)).startswith(b"250")


async def test_a_probe_goes_to_nobody_else(discard: Discard) -> None:
    spool = MemorySpool()
    async with serving(CLOSED, spool, discard=discard) as server, connected(server) as client:
        await begin(client)
        for other in (b"you@there.example", b"x@discard.relayfleet.invalid"):
            assert (await client.say(b"RCPT TO:<" + other + b">")).startswith(b"550 5.7.1")
        assert (await client.say(b"DATA")).startswith(b"554 5.5.1")
    assert spool.stored == []


async def test_a_probe_is_small(discard: Discard) -> None:
    spool = MemorySpool()
    async with serving(CLOSED, spool, discard=discard) as server, connected(server) as client:
        await client.hello()
        line = b"MAIL FROM:<" + ADDRESS + b"> SIZE=%d"
        assert (await client.say(line % (PROBE_BYTES + 1))).startswith(b"552 5.3.4")
        assert (await full(client, b"x" * PROBE_BYTES + b"\r\n")).startswith(b"552 5.3.4")
        assert (await full(client, b"x" * (PROBE_BYTES - 2) + b"\r\n")).startswith(b"250")
    assert len(spool.stored) == 1


async def test_probes_beyond_the_pace_are_answered_as_by_a_full_queue(discard: Discard) -> None:
    async with serving(CLOSED, discard=discard) as server, connected(server) as client:
        server._services.probe_pace = Pace(PROBES_PER_SECOND, clock=lambda: 100.0)  # all of them within one second
        answers = [(await begin(client))[:9] for _ in range(PROBES_PER_SECOND + 2)]
    assert answers == [b"250 2.1.0"] * PROBES_PER_SECOND + [b"452 4.7.0"] * 2


async def test_a_prober_is_told_of_the_queue_what_clients_are_told(discard: Discard) -> None:
    spool = MemorySpool()
    spool.fail_next.extend((SpoolFull("quota"), SpoolUnavailable("no majority")))
    async with serving(CLOSED, spool, discard=discard) as server, connected(server) as client:
        assert (await full(client)).startswith(b"452 4.3.1")
        assert (await full(client)).startswith(b"451 4.3.0")
        assert server.counters.probes == 0


async def test_an_envelope_may_be_pipelined_and_taken_back(discard: Discard) -> None:
    async with serving(CLOSED, discard=discard) as server, connected(server) as client:
        await client.hello()
        client.send(b"MAIL FROM:<" + ADDRESS + b">\r\nRCPT TO:<" + ADDRESS + b">\r\nRSET\r\n")
        assert [(await client.reply())[:3] for _ in range(3)] == [b"250"] * 3


async def test_mail_of_a_client_to_that_domain_is_ordinary_mail(
    discard: Discard, tls_folder: Path, auth_folder: Path
) -> None:
    spool = MemorySpool()
    async with (
        serving(CLOSED, spool, auth_folder=auth_folder, tls_folder=tls_folder, discard=discard) as server,
        connected(server) as client,
    ):
        await secured(client, trusting(tls_folder))
        await client.say(PLAIN)
        for recipient in (b"x@discard.relayfleet.invalid", ADDRESS):
            await client.envelope(recipient)
            client.send(b"hi\r\n.\r\n")
            assert (await client.reply()).startswith(b"250")
        assert (server.counters.accepted, server.counters.probes) == (2, 0)
    assert not any(map(discard.takes, spool.stored))
