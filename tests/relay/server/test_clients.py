"""Clients that this project did not write: what they send arrives in the queue byte for byte."""

from __future__ import annotations

import asyncio
import email.message
import email.policy
import shutil
import smtplib
from pathlib import Path

import aiosmtplib
import pytest

from relayfleet.protocol.relay_config import Limits
from tests.fakes.spool import MemorySpool
from tests.relay.server.certificates import trusting
from tests.relay.server.harness import config, connected, serving


def mail() -> email.message.EmailMessage:
    """With an attachment, 8-bit text and lines that begin with dots."""
    message = email.message.EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
    message["From"] = "me@here.example"
    message["To"] = "you@there.example"
    message["Subject"] = "dots"
    message["Date"] = "Tue, 24 Nov 2026 12:00:00 +0000"
    message["Message-ID"] = "<1@here.example>"
    message.set_content(".\r\n..\r\nGrüße, 你好\r\n.end\r\n", cte="8bit")
    message.add_attachment(bytes(range(256)) * 100, "application", "octet-stream", filename="all.bin")
    message.set_boundary("=-boundary-=")
    return message


def unstuffed(message: bytes) -> bytes:
    """What the receiver of the record's message will read, without the Received header put before it."""
    lines = message.split(b"\r\n")
    while not lines[0].startswith(b"From:"):
        lines.pop(0)
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


async def test_aiosmtplib_over_starttls_with_auth(tls_folder: Path, auth_folder: Path) -> None:
    spool = MemorySpool()
    settings = config(tls="StartTLS", allowed=())
    async with serving(settings, spool, tls_folder=tls_folder, auth_folder=auth_folder) as server:
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=server.ports["smtp"][0], start_tls=True, tls_context=trusting(tls_folder)
        )
        async with client:
            for mechanism in (client.auth_plain, client.auth_login):
                await client.quit()
                await client.connect()
                await client.ehlo()
                await mechanism("ann", "secret")
                await client.send_message(mail(), sender="me@here.example", recipients=["you@there.example"])
    content = mail().as_bytes()
    assert [unstuffed(each.message) for each in spool.stored] == [content, content]
    assert [each.credential for each in spool.stored] == ["ann", "ann"]
    assert all(each.body_8bit for each in spool.stored)


async def test_smtplib_over_implicit_tls_with_auth(tls_folder: Path, auth_folder: Path) -> None:
    spool = MemorySpool()

    def send(port: int) -> None:
        with smtplib.SMTP_SSL("127.0.0.1", port, context=trusting(tls_folder)) as client:
            client.login("ann", "secret")
            client.send_message(mail())

    settings = config(tls="Implicit", allowed=())
    async with serving(settings, spool, tls_folder=tls_folder, auth_folder=auth_folder) as server:
        await asyncio.to_thread(send, server.ports["smtp"][0])
    assert spool.stored[0].credential == "ann"
    assert spool.stored[0].sender == "me@here.example"


async def test_smtplib_sends_internationalized_addresses() -> None:
    spool = MemorySpool()
    message = mail()
    del message["To"]
    message["To"] = "ты@пример.рф"

    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.send_message(message)

    async with serving(spool=spool) as server:
        await asyncio.to_thread(send, server.ports["smtp"][0])
    record = spool.stored[0]
    assert [each.address for each in record.recipients] == ["ты@пример.рф"]
    assert record.smtputf8
    assert b" with UTF8SMTP id " in record.message


async def test_smtplib_passes_delivery_status_notification_on() -> None:
    spool = MemorySpool()

    def send(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail(
                "me@here.example",
                ["you@there.example"],
                mail().as_bytes(),
                mail_options=["RET=HDRS", "ENVID=abc"],
                rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;x@y.example"],
            )

    async with serving(spool=spool) as server:
        await asyncio.to_thread(send, server.ports["smtp"][0])
    record = spool.stored[0]
    assert (record.ret, record.envid) == ("HDRS", "abc")
    assert (record.recipients[0].notify, record.recipients[0].orcpt) == ("SUCCESS,FAILURE", "rfc822;x@y.example")


async def test_many_aiosmtplib_sessions_at_once_lose_nothing() -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server:

        async def session(number: int) -> None:
            async with aiosmtplib.SMTP(hostname="127.0.0.1", port=server.ports["smtp"][0]) as client:
                for index in range(10):
                    await client.sendmail("me@here.example", [f"u{number}.{index}@there.example"], mail().as_bytes())

        await asyncio.gather(*(session(number) for number in range(30)))
    assert len({each.recipients[0].address for each in spool.stored}) == 300
    assert len({each.id for each in spool.stored}) == 300


async def test_a_whole_session_may_be_pipelined_in_groups() -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.hello()
        group = b"MAIL FROM:<%d@here.example>\r\nRCPT TO:<a@b.c>\r\nRCPT TO:<bad>\r\nRCPT TO:<c@d.e>\r\nDATA\r\n"
        client.send(group % 0)
        for number in range(1, 51):
            assert [(await client.reply())[:3] for _ in range(5)] == [b"250", b"250", b"501", b"250", b"354"]
            client.send(b"Subject: x\r\n\r\n%d\r\n.\r\n" % number + group % number)
            assert (await client.reply()).startswith(b"250 2.0.0")
    assert [each.sender for each in spool.stored] == [f"{number}@here.example" for number in range(50)]
    assert all(len(each.recipients) == 2 for each in spool.stored)


async def run(*command: str) -> str:
    """Run a tool that has to succeed; its output."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (Debian: postfix for smtp-source, swaks)")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    if b"requires Net::SSLeay" in output:
        pytest.skip("swaks cannot speak TLS here (Debian: libnet-ssleay-perl)")
    assert process.returncode == 0, output.decode(errors="replace")
    return output.decode(errors="replace")


async def test_smtp_source_sends_two_thousand_mails() -> None:
    spool = MemorySpool()
    async with serving(config(limits=Limits(session_messages=10_000)), spool) as server:
        await run(
            *("smtp-source", "-d", "-s", "20", "-l", "2048", "-m", "2000", "-f", "me@here.example"),
            *("-t", "you@there.example", f"inet:127.0.0.1:{server.ports['smtp'][0]}"),
        )
    assert len(spool.stored) == 2000
    assert all(len(each.message) > 2048 for each in spool.stored)


async def test_swaks_sends_over_starttls_with_auth(tls_folder: Path, auth_folder: Path) -> None:
    spool = MemorySpool()
    settings = config(tls="StartTLS", allowed=())
    async with serving(settings, spool, tls_folder=tls_folder, auth_folder=auth_folder) as server:
        await run(
            *("swaks", "--server", "127.0.0.1", "--port", str(server.ports["smtp"][0]), "--tls"),
            *("--auth", "LOGIN", "--auth-user", "ann", "--auth-password", "secret"),
            *("--from", "me@here.example", "--to", "you@there.example", "--pipeline"),
        )
    assert spool.stored[0].credential == "ann"
