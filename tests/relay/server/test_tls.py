"""TLS: offered where it works, nothing carried over from before it, the certificate renewed without a restart."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import TlsMode
from tests.fakes.spool import MemorySpool
from tests.relay.server.certificates import trusting, write_certificate
from tests.relay.server.harness import LOOPBACK, config, connected, eventually, serving

MESSAGE = b"Subject: x\r\n\r\nhi\r\n.\r\n"


async def test_starttls_gives_a_verified_connection_and_forgets_what_was_before(tls_folder: Path) -> None:
    spool = MemorySpool()
    async with serving(config(tls="StartTLS"), spool, tls_folder=tls_folder) as server, connected(server) as client:
        assert b"250-STARTTLS\r\n" in await client.hello()
        await client.say(b"MAIL FROM:<before@tls.example>")
        assert (await client.say(b"STARTTLS")).startswith(b"220 2.0.0")
        await client.start_tls(trusting(tls_folder), "first.example")
        assert (await client.say(b"RCPT TO:<a@b.c>")).startswith(b"503"), "the transaction is gone"
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"503"), "so is the EHLO"
        assert b"STARTTLS" not in await client.hello()
        assert (await client.say(b"STARTTLS")).startswith(b"503 5.5.1")
        await client.envelope()
        client.send(MESSAGE)
        assert (await client.reply()).startswith(b"250")
    assert b" with ESMTPS id " in spool.stored[0].message


async def test_implicit_tls_speaks_tls_from_the_first_byte(tls_folder: Path) -> None:
    spool = MemorySpool()
    async with serving(config(tls="Implicit"), spool, tls_folder=tls_folder) as server:
        async with connected(server, tls=trusting(tls_folder)) as client:
            assert b"STARTTLS" not in await client.hello()
            await client.envelope()
            client.send(b"x" * 1000 + b"\r\n" + b"y" * 500_000 + b"\r\n.\r\n")
            assert (await client.reply()).startswith(b"250")
            assert (await client.say(b"QUIT")).startswith(b"221")
            assert await client.rest() == b""
        assert server.counters.tls_sessions == 1
    assert len(spool.stored[0].message) > 501_000


async def test_plain_text_to_an_implicit_listener_is_closed(tls_folder: Path) -> None:
    async with serving(config(tls="Implicit"), tls_folder=tls_folder) as server:
        async with connected(server, greeted=False) as client:
            client.send(b"EHLO client.example\r\n")
            assert b"EHLO" not in await client.rest()
        await eventually(lambda: server.counters.tls_failures == 1, "counted")


@pytest.mark.parametrize("injected", [b"NOOP\r\n", b"RSET", b"MAIL FROM:<evil@b.c>\r\n"], ids=repr)
async def test_commands_pipelined_behind_starttls_are_refused(tls_folder: Path, injected: bytes) -> None:
    async with serving(config(tls="StartTLS"), tls_folder=tls_folder) as server, connected(server) as client:
        await client.hello()
        client.send(b"STARTTLS\r\n" + injected)
        assert (await client.reply()).startswith(b"503 5.5.0")
        assert await client.rest() == b""


async def test_plain_text_after_starttls_was_granted_never_becomes_a_command(tls_folder: Path) -> None:
    async with serving(config(tls="StartTLS"), tls_folder=tls_folder) as server, connected(server) as client:
        await client.hello()
        await client.say(b"STARTTLS")
        client.send(b"MAIL FROM:<evil@b.c>\r\n")
        assert b"250" not in await client.rest()


async def test_without_a_certificate_starttls_is_not_offered_until_there_is_one(tls_folder: Path) -> None:
    hidden = tls_folder.with_name("hidden")
    tls_folder.rename(hidden)
    async with serving(config(tls="StartTLS"), tls_folder=tls_folder) as server, connected(server) as client:
        assert b"STARTTLS" not in await client.hello()
        assert (await client.say(b"STARTTLS")).startswith(b"454 4.7.0")
        hidden.rename(tls_folder)
        assert b"STARTTLS" in await client.hello()
        assert (await client.say(b"STARTTLS")).startswith(b"220")
        await client.start_tls(trusting(tls_folder))


async def test_an_implicit_listener_without_a_certificate_closes_at_once() -> None:
    async with serving(config(tls="Implicit")) as server, connected(server, greeted=False) as client:
        assert await client.rest() == b""


@pytest.mark.parametrize("mode", ["StartTLS", "Implicit"])
async def test_a_new_certificate_is_used_without_a_restart(tls_folder: Path, tmp_path: Path, mode: TlsMode) -> None:
    async with serving(config(tls=mode), tls_folder=tls_folder) as server:
        assert await shown_name(server.ports["smtp"][0], tls_folder, mode) == "first.example"
        old = tmp_path / "old"
        shutil.copytree(tls_folder, old)
        write_certificate(tls_folder, "second.example")
        assert await shown_name(server.ports["smtp"][0], tls_folder, mode) == "second.example"
        with pytest.raises(ssl.SSLCertVerificationError):
            await shown_name(server.ports["smtp"][0], old, mode)


async def test_a_key_that_does_not_fit_leaves_the_last_good_pair_in_use(tls_folder: Path, tmp_path: Path) -> None:
    async with serving(config(tls="StartTLS"), tls_folder=tls_folder) as server:
        port = server.ports["smtp"][0]
        good = tmp_path / "good"
        await shown_name(port, tls_folder, "StartTLS")
        shutil.copytree(tls_folder, good)
        other = tmp_path / "other"
        other.mkdir()
        write_certificate(other, "other.example")
        shutil.copy(other / "tls.key", tls_folder / "tls.key")
        assert await shown_name(port, good, "StartTLS") == "first.example"
        (tls_folder / "tls.crt").write_text("nonsense")
        assert await shown_name(port, good, "StartTLS") == "first.example"


async def shown_name(port: int, trusted: Path, mode: TlsMode) -> str:
    """The name in the certificate that a verifying client is shown."""
    context = trusting(trusted)
    if mode == "Implicit":
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for line in (b"", b"EHLO x\r\n", b"STARTTLS\r\n"):
            writer.write(line)
            while (await reader.readline())[3:4] == b"-":
                pass
        try:
            await writer.start_tls(context, server_hostname="127.0.0.1")
        except ssl.SSLError:
            writer.close()
            raise
    certificate = writer.get_extra_info("peercert")
    writer.close()
    name: str = certificate["subject"][0][0][1]
    return name


@pytest.mark.parametrize(
    ("version", "works"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_is_at_least_1_2(tls_folder: Path, version: ssl.TLSVersion, works: bool) -> None:
    context = trusting(tls_folder)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    async with serving(config(tls="Implicit"), tls_folder=tls_folder) as server:
        try:
            async with connected(server, tls=context):
                assert works
        except (ssl.SSLError, ConnectionError):
            assert not works


async def test_the_openssl_client_agrees(tls_folder: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    async with serving(config(tls="StartTLS", allowed=LOOPBACK), tls_folder=tls_folder) as server:
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{server.ports['smtp'][0]}"),
            *("-CAfile", str(tls_folder / "tls.crt"), "-verify_return_error", "-brief", "-crlf"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(b"QUIT\n"), 20)
    assert b"CONNECTION ESTABLISHED" in output
    assert b"Verification: OK" in output


async def test_a_silent_handshake_is_given_up(tls_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayfleet.relay.server.connection.HANDSHAKE_SECONDS", 0.1)
    async with serving(config(tls="Implicit"), tls_folder=tls_folder) as server:
        async with connected(server, greeted=False) as client:
            client.send(b"\x16\x03\x01")
            assert await client.rest() == b""
        await eventually(lambda: server.counters.sessions_open == 0, "closed")
