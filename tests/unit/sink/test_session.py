"""The sink over real sockets: ordinary clients can talk to it, and every scripted deed is seen from the client's side."""

from __future__ import annotations

import asyncio
import json
import re
import smtplib
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest

from tests.sink.certificate import self_signed
from tests.sink.client import SinkClient, SinkError
from tests.sink.digest import digests
from tests.sink.server import Options, Sink


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    return self_signed("sink.example.test")


@pytest.fixture
async def sink(tls: ssl.SSLContext) -> AsyncIterator[Sink]:
    async with Sink(Options("127.0.0.1", (0, 0), 0, tls=tls, keep_raw=10, message_bytes=100_000)) as running:
        yield running


@pytest.fixture
def client(sink: Sink) -> SinkClient:
    return SinkClient(f"http://127.0.0.1:{sink.http_port}")


class Dialogue:
    """A client that says exactly what a test tells it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def say(self, text: str | bytes, replies: int = 1) -> list[str]:
        """Send, and read so many replies."""
        self._writer.write(text.encode() if isinstance(text, str) else text)
        return [await self.reply() for _ in range(replies)]

    async def reply(self) -> str:
        lines = [(await self.reader.readuntil(b"\n")).decode("latin-1")]
        while lines[-1][3:4] == "-":
            lines.append((await self.reader.readuntil(b"\n")).decode("latin-1"))
        return "".join(lines).rstrip("\r\n")

    async def transaction(self, *recipients: str, sender: str = "s@example.com") -> list[str]:
        """Everything up to the reply to the dot."""
        lines = [f"MAIL FROM:<{sender}>\r\n", *(f"RCPT TO:<{each}>\r\n" for each in recipients), "DATA\r\n"]
        return [*await self.say("".join(lines), len(lines)), *await self.say("Subject: x\r\n\r\nhello\r\n.\r\n")]


@asynccontextmanager
async def dialogue(sink: Sink, greet: bool = True) -> AsyncIterator[Dialogue]:
    reader, writer = await asyncio.open_connection("127.0.0.1", sink.smtp_ports[0])
    talk = Dialogue(reader, writer)
    try:
        if greet:
            await talk.reply()
            await talk.say("EHLO client.example.test\r\n")
        yield talk
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def mail(**headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "s@example.com"
    message["Message-ID"] = "<1@example.com>"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("Grüße\n.\n..dots\n")
    return message


async def test_smtplib_sends_over_tls_and_the_record_says_all_of_it(sink: Sink, client: SinkClient) -> None:
    message = mail(X_Test_Id="t-1")

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", sink.smtp_ports[1], local_hostname="eu-1.example.com") as smtp:
            smtp.starttls()
            smtp.send_message(
                message, "s@example.com", ["a@one.test", "b@two.test"], ["BODY=8BITMIME"], ["NOTIFY=NEVER"]
            )

    await asyncio.to_thread(send)
    [record] = await client.messages()
    raw = await client.raw(record["n"])
    assert (record["headers_sha256"], record["body_sha256"]) == digests(raw)
    assert "Grüße\r\n.\r\n..dots\r\n".encode() in raw
    expected: dict[str, Any] = {
        "client": "127.0.0.1",
        "port": sink.smtp_ports[1],
        "helo": "eu-1.example.com",
        "tls": "TLSv1.3",
        "from": "s@example.com",
        "recipients": [{"address": each, "params": {"NOTIFY": "NEVER"}} for each in ("a@one.test", "b@two.test")],
        "size": len(raw),
        "message_id": "<1@example.com>",
        "test_id": "t-1",
        "received": 0,
        "answered": True,
    }
    assert {name: record[name] for name in expected} == expected
    assert record["from_params"]["BODY"] == "8BITMIME"


async def test_aiosmtplib_sends_many_mails_in_one_session_with_utf8_addresses(sink: Sink, client: SinkClient) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=sink.smtp_ports[0], start_tls=False) as smtp:
        for number in range(20):
            await smtp.send_message(
                mail(X_Test_Id=str(number)), sender="s@example.com", recipients=["jörg@müller.test"]
            )
    records = await client.wait_for(20, 10)
    assert [each["test_id"] for each in records] == [str(number) for number in range(20)]
    assert {each["session"] for each in records} == {records[0]["session"]}
    assert records[0]["recipients"][0]["address"] == "jörg@müller.test"
    assert "SMTPUTF8" in records[0]["from_params"]


async def test_pipelined_transactions_are_answered_in_order(sink: Sink) -> None:
    one = "MAIL FROM:<s@example.com>\r\nRCPT TO:<a@one.test>\r\nDATA\r\nSubject: x\r\n\r\nhello\r\n.\r\n"
    async with dialogue(sink) as talk:
        replies = await talk.say(one * 3 + "QUIT\r\n", 13)
        assert [reply[:3] for reply in replies] == ["250", "250", "354", "250"] * 3 + ["221"]
        assert await talk.reader.read() == b""


SYNTAX: dict[str, tuple[str, str]] = {
    "an unknown command": ("FOO\r\n", "500"),
    "a sender without brackets": ("MAIL FROM:s@example.com\r\n", "501"),
    "a recipient first": ("RCPT TO:<a@one.test>\r\n", "503"),
    "data first": ("DATA\r\n", "503"),
    "a size above the limit": ("MAIL FROM:<s@example.com> SIZE=100001\r\n", "552"),
    "an empty sender": ("MAIL FROM:<>\r\n", "250"),
    "a quoted recipient's neighbour": ('MAIL FROM:<"a >b"@example.com>\r\n', "250"),
    "old clients": ("HELO old.example.test\r\n", "250 sink.example.test"),
    "verify": ("VRFY bob\r\n", "252"),
    "reset": ("RSET\r\n", "250"),
    "bytes that are no UTF-8": ("MAIL FROM:<\udcff@example.com>\r\n", "250"),
}


@pytest.mark.parametrize(("line", "reply"), SYNTAX.values(), ids=SYNTAX.keys())
async def test_the_answer_to(sink: Sink, line: str, reply: str) -> None:
    async with dialogue(sink) as talk:
        [answer] = await talk.say(line.encode(errors="surrogateescape"))
        assert answer.startswith(reply)


async def test_what_is_too_large_is_refused_after_the_dot_and_the_session_goes_on(
    sink: Sink, client: SinkClient
) -> None:
    async with dialogue(sink) as talk:
        await talk.say("MAIL FROM:<s@example.com>\r\nRCPT TO:<a@one.test>\r\nDATA\r\n", 3)
        [answer] = await talk.say(b"x" * 100_001 + b"\r\n.\r\n")
        assert answer.startswith("552")
        assert (await talk.transaction("a@one.test"))[-1].startswith("250")
    assert len(await client.messages()) == 1


async def test_a_line_that_does_not_end_costs_the_session(sink: Sink) -> None:
    async with dialogue(sink) as talk:
        assert (await talk.say(b"x" * 5000))[0].startswith("500")
        assert await talk.reader.read() == b""


async def test_commands_sent_before_the_handshake_are_not_carried_out(sink: Sink, client: SinkClient) -> None:
    async with dialogue(sink) as talk:
        await talk.say("STARTTLS\r\nMAIL FROM:<evil@example.com>\r\n")
        with pytest.raises(asyncio.IncompleteReadError):
            await talk.say("this is no handshake\r\n" * 50)
    assert await client.messages() == []


# Scripted deeds


REPLIES: dict[str, tuple[str, list[str]]] = {
    "refused at RCPT": ("a+rcpt-550@one.test", ["250", "550", "503"]),
    "put off at DATA": ("a+data-451@one.test", ["250", "250", "451"]),
    "refused at the dot": ("a+dot-554@one.test", ["250", "250", "354", "554"]),
    "accepted late": ("a+dot-accept-0.05s@one.test", ["250", "250", "354", "250"]),
}


@pytest.mark.parametrize(("address", "codes"), REPLIES.values(), ids=REPLIES.keys())
async def test_an_address_orders_the_reply(sink: Sink, client: SinkClient, address: str, codes: list[str]) -> None:
    async with dialogue(sink) as talk:
        replies = await talk.say(f"MAIL FROM:<s@example.com>\r\nRCPT TO:<{address}>\r\nDATA\r\n", 3)
        if replies[-1].startswith("354"):
            replies += await talk.say("Subject: x\r\n\r\nhello\r\n.\r\n")
    assert [reply[:3] for reply in replies] == codes
    assert len(await client.messages()) == (1 if codes[-1] == "250" else 0)


async def test_the_first_two_attempts_are_put_off_then_it_is_accepted_and_the_deeds_are_on_record(
    sink: Sink, client: SinkClient
) -> None:
    async with dialogue(sink) as talk:
        answers = [(await talk.transaction("a+dot-451-2x@one.test"))[-1][:3] for _ in range(3)]
    assert answers == ["451", "451", "250"]
    deeds = await client.deeds()
    assert [(each["stage"], each["deed"], each["recipients"]) for each in deeds] == [
        ("dot", "reply 451", ["a+dot-451-2x@one.test"])
    ] * 2
    assert (await client.stats())["deeds"] == 2


async def test_a_rule_answers_with_several_lines_and_closes(sink: Sink, client: SinkClient) -> None:
    await client.put_rules({"stage": "mail", "code": 421, "text": ["4.3.2 busy", "4.3.2 come back"], "then": "close"})
    async with dialogue(sink) as talk:
        assert await talk.say("MAIL FROM:<s@example.com>\r\nNOOP\r\n") == ["421-4.3.2 busy\r\n421 4.3.2 come back"]
        assert await talk.reader.read() == b""
    assert [each["hits"] for each in await client.rules()] == [1]


ENDS: dict[str, tuple[str, bool]] = {
    "FIN before the answer": ("a+dot-close@one.test", False),
    "RST before the answer": ("a+dot-reset@one.test", False),
    "RST, but stored": ("a+dot-lost@one.test", True),
}


@pytest.mark.parametrize(("address", "stored"), ENDS.values(), ids=ENDS.keys())
async def test_a_connection_ends_at_the_dot_without_an_answer(
    sink: Sink, client: SinkClient, address: str, stored: bool
) -> None:
    ends = ConnectionResetError if "close" not in address else asyncio.IncompleteReadError
    async with dialogue(sink) as talk:
        with pytest.raises(ends):
            await talk.transaction(address)
    assert [each["answered"] for each in await client.messages()] == ([False] if stored else [])


async def test_a_connection_that_ends_after_the_answer_has_answered(sink: Sink, client: SinkClient) -> None:
    await client.put_rules({"stage": "dot", "then": "close"})
    async with dialogue(sink) as talk:
        assert (await talk.transaction("a@one.test"))[-1].startswith("250")
        assert await talk.reader.read() == b""
    assert [each["answered"] for each in await client.messages()] == [True]


async def test_a_session_that_hangs_does_not_answer_any_more_and_ends_with_its_client(
    sink: Sink, client: SinkClient
) -> None:
    async with dialogue(sink) as talk:
        await talk.say("MAIL FROM:<s@example.com>\r\nRCPT TO:<a+rcpt-hang@one.test>\r\nNOOP\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(talk.reader.read(1), 0.1)
        assert (await client.stats())["sessions_open"] == 1
    while (await client.stats())["sessions_open"]:  # noqa: ASYNC110 - it is in another program, in principle
        await asyncio.sleep(0.01)


async def test_garbage_comes_in_place_of_a_reply_and_the_session_goes_on(sink: Sink) -> None:
    async with dialogue(sink) as talk:
        await talk.say("MAIL FROM:<s@example.com>\r\n")
        assert not (await talk.say("RCPT TO:<a+rcpt-garbage@one.test>\r\n"))[0][:3].isdigit()
        assert (await talk.say("NOOP\r\n"))[0].startswith("250")


async def test_an_endless_reply_line_goes_on_for_as_long_as_it_is_read(sink: Sink) -> None:
    async with dialogue(sink) as talk:
        await talk.say("MAIL FROM:<s+x@example.com>\r\n")
        await talk.say("RCPT TO:<a+rcpt-endless@one.test>\r\n", 0)
        start = await talk.reader.readexactly(100_000)
        assert start.startswith(b"250-xxx")
        assert b"\n" not in start


async def test_the_banner_can_be_a_refusal_or_not_come(sink: Sink, client: SinkClient) -> None:
    await client.put_rules(
        {"stage": "connect", "code": 554, "text": "5.3.2 no", "then": "close", "first": 1},
        {"stage": "connect", "do": "reset"},
    )
    async with dialogue(sink, greet=False) as talk:
        assert await talk.reply() == "554 5.3.2 no"
        assert await talk.reader.read() == b""
    with pytest.raises(ConnectionResetError):
        async with dialogue(sink, greet=False) as talk:
            await talk.reply()


async def test_replies_keep_their_order_while_one_is_delayed(sink: Sink, client: SinkClient) -> None:
    await client.put_rules({"stage": "noop", "delay": [0.05, 0.06], "code": 259})
    async with dialogue(sink) as talk:
        replies = await talk.say("RSET\r\nNOOP\r\nRSET\r\nNOOP\r\nQUIT\r\n", 5)
        assert [reply[:3] for reply in replies] == ["250", "259", "250", "259", "221"]


@pytest.mark.parametrize("early", [True, False])
async def test_who_leaves_while_the_answer_is_late_has_delivered_if_it_was_stored_early(
    sink: Sink, client: SinkClient, early: bool
) -> None:
    await client.put_rules({"stage": "dot", "delay": 60, "early": early})
    async with dialogue(sink) as talk:
        answer = asyncio.create_task(talk.transaction("a@one.test"))
        async with asyncio.timeout(20):
            while not (await client.rules())[0]["hits"]:  # noqa: ASYNC110 - it is in another program, in principle
                await asyncio.sleep(0.01)
        assert not answer.done()
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)
    assert len(await client.messages()) == early


async def test_an_answer_after_early_storing_is_the_usual_one(sink: Sink, client: SinkClient) -> None:
    await client.put_rules({"stage": "dot", "delay": 0.05, "early": True})
    async with dialogue(sink) as talk:
        replies = await talk.transaction("a@one.test")
    assert replies[-1].startswith("250 2.0.0 stored")
    assert [each["answered"] for each in await client.messages()] == [True]


async def test_a_delay_can_stand_before_the_tls_handshake(sink: Sink, client: SinkClient) -> None:
    await client.put_rules({"stage": "starttls", "delay": 0.05})
    smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=sink.smtp_ports[0], start_tls=True, validate_certs=False)
    async with smtp:
        await smtp.send_message(mail(), sender="s@example.com", recipients=["a@one.test"])
    assert [each["tls"] for each in await client.messages()] == ["TLSv1.3"]


async def test_a_client_that_reads_no_replies_is_not_listened_to(sink: Sink) -> None:
    async with dialogue(sink) as talk:
        talk.reader._transport.pause_reading()  # type: ignore[attr-defined]
        written = 0
        try:
            async with asyncio.timeout(0.5):
                while written < 200 * 1024**2:
                    talk._writer.write(b"NOOP\r\n" * 10_000)
                    written += 60_000
                    await talk._writer.drain()
        except TimeoutError:
            pass
        [session] = sink._sessions
        assert len(session.input) < 2 * 1024**2
        talk._writer.transport.abort()  # to close it would be to wait until all is sent, and nobody takes it


async def test_the_flood_is_refused_when_there_are_too_many_sessions() -> None:
    small = Sink(Options("127.0.0.1", (0,), 0, sessions=2))
    async with small, dialogue(small), dialogue(small), dialogue(small, greet=False) as talk:
        assert (await talk.reply()).startswith("421")


async def test_the_program_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    options = ["--host=127.0.0.1", "--smtp-port=0", "--http-port=0", f"--spill={tmp_path / 'spill'}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sink", *options, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    smtp_port, http_port = (int(number) for number in re.findall(rb"\d+", await process.stdout.readline())[-2:])
    smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=smtp_port, start_tls=True, validate_certs=False)
    async with smtp:
        await smtp.send_message(mail(X_Test_Id="kept"), sender="s@example.com", recipients=["a@one.test"])
    with pytest.raises((aiosmtplib.SMTPServerDisconnected, ConnectionResetError)):
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=smtp_port, start_tls=False) as again:
            await again.send_message(mail(), sender="s@example.com", recipients=["a+dot-lost@one.test"])
    assert len(await SinkClient(f"http://127.0.0.1:{http_port}").messages()) == 2
    process.terminate()
    assert await process.wait() == 0
    assert [json.loads(line)["test_id"] for line in (tmp_path / "spill").read_text().splitlines()] == ["kept", ""]


# Control


async def test_a_forgotten_message_is_gone_and_the_next_number_is_new(sink: Sink, client: SinkClient) -> None:
    async with dialogue(sink) as talk:
        await talk.transaction("a@one.test", "b@one.test")
        assert (await client.stats())["recipients"] == 2
        await client.reset()
        assert (await client.stats())["messages"] == 0
        await talk.transaction("a@one.test")
    assert [each["n"] for each in await client.messages()] == [1]
    with pytest.raises(SinkError, match="not kept"):
        await client.raw(0)


async def test_bad_rules_are_refused_in_words(client: SinkClient) -> None:
    with pytest.raises(SinkError, match="stage must be one of"):
        await client.put_rules({"stage": "sometime"})


async def test_waiting_in_vain_says_what_came_instead(client: SinkClient) -> None:
    with pytest.raises(TimeoutError, match="0 of 1 messages"):
        await client.wait_for(1, 0.05)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /nothing HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /messages?since=x HTTP/1.1\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"PUT /rules HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"400"),
        (b"PUT /rules HTTP/1.1\r\nContent-Length: 1\r\n\r\n{", b"400"),
    ],
)
async def test_the_control_service_answers(sink: Sink, request_bytes: bytes, status: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sink.http_port)
    writer.write(request_bytes)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split(b" ")[1] == status
