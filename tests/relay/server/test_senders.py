"""A credential that has domains sends for those; others send as ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from relayfleet.protocol.relay_config import Submitter
from tests.fakes.spool import MemorySpool
from tests.relay.server.certificates import trusting
from tests.relay.server.harness import Client, config, connected, serving
from tests.relay.server.test_authentication import PLAIN, secured

NOT_YOURS = b"550 5.7.1 Your credential may not send as this domain\r\n"
SETTINGS = replace(config(tls="StartTLS"), submitters=(Submitter("ann", ("here.example",)),))


async def mail(client: Client, sender: bytes) -> bytes:
    """The answer to MAIL, after which there is no transaction."""
    answer = await client.say(b"MAIL FROM:<" + sender + b">")
    await client.say(b"RSET")
    return answer


async def test_another_domain_is_refused_and_the_session_goes_on(tls_folder: Path, auth_folder: Path) -> None:
    spool = MemorySpool()
    async with (
        serving(SETTINGS, spool, auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server) as client,
    ):
        await secured(client, trusting(tls_folder))
        await client.say(PLAIN)
        assert await mail(client, b"me@there.example") == NOT_YOURS
        assert (await client.say(b"RCPT TO:<you@there.example>")).startswith(b"503")
        for own in (b"me@here.example", b"me@Deep.HERE.example", b""):
            assert (await mail(client, own)).startswith(b"250")
        await client.envelope()
        client.send(b"hi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250")
        assert server.counters.refused == {NOT_YOURS[:9].decode() + " sender": 1, "503 5.5.1": 1}
    assert len(spool.stored) == 1


async def test_a_client_of_a_network_is_held_to_nothing_until_it_says_who_it_is(
    tls_folder: Path, auth_folder: Path
) -> None:
    async with (
        serving(SETTINGS, auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server) as client,
    ):
        await secured(client, trusting(tls_folder))
        assert (await mail(client, b"me@there.example")).startswith(b"250")
        await client.say(PLAIN)
        assert await mail(client, b"me@there.example") == NOT_YOURS


async def test_other_domains_are_taken_up_by_open_sessions(tls_folder: Path, auth_folder: Path) -> None:
    async with (
        serving(SETTINGS, auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server) as client,
    ):
        await secured(client, trusting(tls_folder))
        await client.say(PLAIN)
        assert await mail(client, b"me@there.example") == NOT_YOURS
        await server.reload(replace(SETTINGS, submitters=()))
        assert (await mail(client, b"me@there.example")).startswith(b"250")
