"""Who may send: AUTH under TLS with a password from the files, or a client in an allowed network. Nobody else."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import bcrypt
import pytest

from tests.fakes.spool import MemorySpool
from tests.relay.server.certificates import trusting
from tests.relay.server.harness import Client, config, connected, serving


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


PLAIN = b"AUTH PLAIN " + b64(b"\0ann\0secret")


async def secured(client: Client, context: ssl.SSLContext) -> bytes:
    """STARTTLS, and the answer to the EHLO after it."""
    await client.hello()
    await client.say(b"STARTTLS")
    await client.start_tls(context)
    return await client.hello()


@pytest.mark.parametrize(
    "steps",
    [
        [PLAIN],
        [b"auth plain " + b64(b"\0ann\0secret")],
        [b"AUTH PLAIN", b64(b"\0ann\0secret")],
        [b"AUTH LOGIN", b64(b"ann"), b64(b"secret")],
        [b"AUTH LOGIN " + b64(b"ann"), b64(b"secret")],
    ],
    ids=repr,
)
async def test_a_client_that_knows_a_password_may_send(tls_folder: Path, auth_folder: Path, steps: list[bytes]) -> None:
    spool = MemorySpool()
    settings = config(tls="StartTLS", allowed=())
    async with (
        serving(settings, spool, auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server) as client,
    ):
        assert b"250-AUTH PLAIN LOGIN\r\n" in await secured(client, trusting(tls_folder))
        for step in steps[:-1]:
            assert (await client.say(step)).startswith(b"334 ")
        assert (await client.say(steps[-1])).startswith(b"235 2.7.0")
        assert b"AUTH" not in await client.hello()
        assert (await client.say(PLAIN)).startswith(b"503 5.5.1")
        await client.envelope()
        client.send(b"hi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250")
    assert spool.stored[0].credential == "ann"
    assert b" with ESMTPSA id " in spool.stored[0].message


async def test_auth_is_neither_offered_nor_done_without_tls(tls_folder: Path, auth_folder: Path) -> None:
    settings = config(tls="StartTLS", allowed=())
    async with (
        serving(settings, auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server) as client,
    ):
        assert b"AUTH" not in await client.hello()
        assert (await client.say(PLAIN)).startswith(b"538 5.7.11")
    async with (
        serving(config(tls="None", allowed=()), auth_folder=auth_folder) as server,
        connected(server) as client,
    ):
        assert b"AUTH" not in await client.hello()
        assert (await client.say(PLAIN)).startswith(b"538 5.7.11")


async def test_a_stranger_may_not_relay(tls_folder: Path, auth_folder: Path) -> None:
    settings = config(tls="StartTLS", allowed=("198.18.0.0/16",))
    async with (
        serving(settings, auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server) as client,
    ):
        await client.hello()
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"530 5.7.0")
        assert (await client.say(b"RCPT TO:<a@b.c>")).startswith(b"503")
        await secured(client, trusting(tls_folder))
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"530 5.7.0"), "TLS alone proves nothing"


WRONG = {
    "wrong password": (b"AUTH PLAIN " + b64(b"\0ann\0guess"), b"535 5.7.8"),
    "unknown name": (b"AUTH PLAIN " + b64(b"\0bob\0secret"), b"535 5.7.8"),
    "for another": (b"AUTH PLAIN " + b64(b"bob\0ann\0secret"), b"535 5.7.8"),
    "empty": (b"AUTH PLAIN =", b"501 5.5.4"),
    "no base64": (b"AUTH PLAIN !", b"501 5.5.2"),
    "mechanism": (b"AUTH CRAM-MD5", b"504 5.5.4"),
    "nothing": (b"AUTH", b"501 5.5.4"),
}


@pytest.mark.parametrize(("line", "answer"), WRONG.values(), ids=WRONG.keys())
async def test_a_failed_auth_is_answered_and_grants_nothing(
    tls_folder: Path, auth_folder: Path, line: bytes, answer: bytes
) -> None:
    settings = config(tls="Implicit", allowed=())
    async with (
        serving(settings, auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server, tls=trusting(tls_folder)) as client,
    ):
        await client.hello()
        assert (await client.say(line)).startswith(answer)
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"530 5.7.0")
        assert (await client.say(PLAIN)).startswith(b"235")


async def test_an_exchange_can_be_cancelled(tls_folder: Path, auth_folder: Path) -> None:
    async with (
        serving(config(tls="Implicit"), auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server, tls=trusting(tls_folder)) as client,
    ):
        await client.hello()
        await client.say(b"AUTH LOGIN")
        assert (await client.say(b"*")).startswith(b"501 5.7.0")
        assert (await client.say(b"NOOP")).startswith(b"250")


async def test_the_third_wrong_password_ends_the_session(tls_folder: Path, auth_folder: Path) -> None:
    async with serving(config(tls="Implicit"), auth_folder=auth_folder, tls_folder=tls_folder) as server:
        async with connected(server, tls=trusting(tls_folder)) as client:
            await client.hello()
            wrong = b"AUTH PLAIN " + b64(b"\0ann\0guess")
            answers = [(await client.say(wrong))[:9] for _ in range(3)]
            assert answers == [b"535 5.7.8", b"535 5.7.8", b"421 4.7.0"]
            assert await client.rest() == b""
        assert server.counters.auth_denied == 3


async def test_credentials_are_read_again_without_a_restart(tls_folder: Path, auth_folder: Path) -> None:
    file = auth_folder / "users"
    kept = file.read_bytes()
    file.unlink()
    async with (
        serving(config(tls="Implicit"), auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server, tls=trusting(tls_folder)) as client,
    ):
        assert b"AUTH" not in await client.hello(), "nobody could"
        assert (await client.say(PLAIN)).startswith(b"454 4.7.0")
        file.write_bytes(kept)
        assert b"AUTH" in await client.hello()
        file.write_text(f"bob:{bcrypt.hashpw(b'x', bcrypt.gensalt(4)).decode()}\n")
        assert (await client.say(PLAIN)).startswith(b"535")
        assert (await client.say(b"AUTH PLAIN " + b64(b"\0bob\0x"))).startswith(b"235")


async def test_a_long_answer_to_a_challenge_fits_and_an_endless_one_does_not(
    tls_folder: Path, auth_folder: Path
) -> None:
    async with (
        serving(config(tls="Implicit"), auth_folder=auth_folder, tls_folder=tls_folder) as server,
        connected(server, tls=trusting(tls_folder)) as client,
    ):
        await client.hello()
        await client.say(b"AUTH PLAIN")
        assert (await client.say(b64(b"\0ann\0" + b"x" * 9000))).startswith(b"535")
        await client.say(b"AUTH PLAIN")
        client.send(b"x" * 13_000)
        assert (await client.reply()).startswith(b"500 5.5.2")


PROXIED = b"PROXY TCP4 192.0.2.1 198.18.0.1 40000 25\r\n"


async def test_a_named_balancer_says_who_the_client_is() -> None:
    spool = MemorySpool()
    settings = config(allowed=("192.0.2.0/24",), proxies=("127.0.0.0/8",))
    async with serving(settings, spool) as server:
        async with connected(server, greeted=False) as client:
            client.send(PROXIED)
            assert (await client.reply()).startswith(b"220")
            await client.envelope()
            client.send(b"hi\r\n.\r\n")
            assert (await client.reply()).startswith(b"250")
        async with connected(server, greeted=False) as client:
            # In pieces, and with what the client sent at once right behind the header.
            client.send(PROXIED[:20])
            client.send(PROXIED[20:] + b"EHLO x\r\nMAIL FROM:<a@b.c>\r\n")
            answers = [(await client.reply())[:3] for _ in range(3)]
            assert answers == [b"220", b"250", b"250"]
    assert spool.stored[0].client == "192.0.2.1"
    assert b"([192.0.2.1])" in spool.stored[0].message


async def test_the_balancers_own_address_grants_nothing() -> None:
    settings = config(allowed=("127.0.0.0/8",), proxies=("127.0.0.0/8",))
    async with serving(settings) as server:
        for header in (PROXIED, b"PROXY UNKNOWN\r\n"):
            async with connected(server, greeted=False) as client:
                client.send(header)
                assert (await client.reply()).startswith(b"220")
                await client.hello()
                assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"530 5.7.0")


async def test_a_balancer_must_say_it() -> None:
    async with serving(config(proxies=("127.0.0.0/8",))) as server, connected(server, greeted=False) as client:
        client.send(b"EHLO x\r\n")
        assert (await client.reply()).startswith(b"421 4.3.5")
        assert await client.rest() == b""


async def test_nobody_else_is_believed() -> None:
    settings = config(allowed=("192.0.2.0/24",), proxies=("198.18.0.0/16",))
    async with serving(settings) as server, connected(server) as client:
        assert (await client.say(PROXIED.strip())).startswith(b"500 5.5.1")
        await client.hello()
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"530 5.7.0")


async def test_a_header_may_stand_before_an_implicit_handshake(tls_folder: Path) -> None:
    settings = config(tls="Implicit", allowed=("192.0.2.0/24",), proxies=("127.0.0.0/8",))
    async with serving(settings, tls_folder=tls_folder) as server, connected(server, greeted=False) as client:
        client.send(PROXIED)
        await client.start_tls(trusting(tls_folder))
        assert (await client.reply()).startswith(b"220")
        await client.envelope()


async def test_an_ipv4_client_of_a_socket_for_both_families_is_an_ipv4_client() -> None:
    spool = MemorySpool()
    async with serving(config(allowed=("127.0.0.0/8",)), spool, address="") as server, connected(server) as client:
        await client.envelope()
        client.send(b"hi\r\n.\r\n")
        await client.reply()
    assert spool.stored[0].client == "127.0.0.1"
