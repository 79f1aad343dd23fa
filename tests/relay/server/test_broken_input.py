"""Clients that are broken or evil: each gets the standard answer, costs bounded memory, and never stops the server."""

from __future__ import annotations

import asyncio
import random
from typing import cast

import pytest

from relayfleet.protocol.relay_config import Limits
from tests.fakes.spool import MemorySpool
from tests.relay.server.harness import config, connected, eventually, serving

SMUGGLED = b"MAIL FROM:<admin@here.example>\r\nRCPT TO:<victim@there.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\n",
    b"\n\r\n.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
]


@pytest.mark.parametrize("end", ENDS, ids=repr)
async def test_no_variant_of_the_end_of_data_smuggles_a_second_mail(end: bytes) -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server:
        async with connected(server) as client:
            await client.envelope()
            client.send(b"Subject: x\r\n\r\nhi" + end + SMUGGLED + b"\r\n.\r\nQUIT\r\n")
            assert (await client.reply()).startswith(b"550 5.5.2 ")
            assert await client.rest() == b"", "nothing after the fault is answered"
        async with connected(server) as client:
            assert (await client.hello()).startswith(b"250")
    assert spool.stored == []


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n"], ids=repr)
async def test_a_client_that_ends_its_message_wrongly_is_told_at_once(end: bytes) -> None:
    async with serving() as server, connected(server) as client:
        await client.envelope()
        client.send(b"Subject: x\r\n\r\nhi" + end)
        assert (await client.reply()).startswith(b"550 5.5.2 ")


COMMAND_FAULTS = {
    "bare LF": (b"NOOP\n", b"500 5.5.2 "),
    "bare CR": (b"NO\rOP\r\n", b"500 5.5.2 "),
    "endless line": (b"x" * 100_000, b"500 5.5.2 "),
    "long line": (b"NOOP " + b"x" * 3000 + b"\r\n", b"500 5.5.2 "),
    "HTTP": (b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<a@b.c>\r\n", b"421 4.7.0 "),
}


@pytest.mark.parametrize(("data", "answer"), COMMAND_FAULTS.values(), ids=COMMAND_FAULTS.keys())
async def test_a_stream_that_cannot_be_trusted_ends_with_the_answer(data: bytes, answer: bytes) -> None:
    async with serving() as server, connected(server) as client:
        client.send(data)
        assert (await client.reply()).startswith(answer)
        assert await client.rest() == b""


ANSWERS = {
    b"NO\0OP": b"500 5.5.2 ",
    b"\xff\xfe": b"500 5.5.2 ",
    b"MAIL\tFROM:<a@b.c>": b"500 5.5.2 ",
    b"FROBNICATE": b"500 5.5.1 ",
    b"": b"500 5.5.1 ",
    b"EXPN list": b"502 5.5.1 ",
    b"BDAT 10": b"502 5.5.1 ",
    b"EHLO": b"501 5.5.4 ",
    b"HELO a b": b"501 5.5.4 ",
    b"MAIL FROM:<a@b.c>": b"503 5.5.1 ",
    b"RCPT TO:<a@b.c>": b"503 5.5.1 ",
    b"DATA": b"503 5.5.1 ",
    b"DATA now": b"501 5.5.4 ",
    b"QUIT now": b"501 5.5.4 ",
    b"RSET": b"250 2.0.0 ",
    b"NOOP with text": b"250 2.0.0 ",
    b"VRFY someone": b"252 2.0.0 ",
    b"VRFY": b"501 5.5.4 ",
    b"HELP": b"214 2.0.0 ",
    b"STARTTLS": b"502 5.5.1 ",
}


@pytest.mark.parametrize(("line", "answer"), ANSWERS.items(), ids=map(repr, ANSWERS))
async def test_a_wrong_command_is_answered_and_the_session_goes_on(line: bytes, answer: bytes) -> None:
    async with serving() as server, connected(server) as client:
        assert (await client.say(line)).startswith(answer)
        assert (await client.hello()).startswith(b"250")


async def test_the_order_of_commands_is_kept() -> None:
    async with serving() as server, connected(server) as client:
        await client.hello()
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"250 2.1.0")
        assert (await client.say(b"MAIL FROM:<a@b.c>")).startswith(b"503 5.5.1")
        assert (await client.say(b"DATA")).startswith(b"554 5.5.1")
        assert (await client.say(b"RCPT TO:<a@b.c>")).startswith(b"250 2.1.5")
        assert (await client.say(b"RSET")).startswith(b"250")
        assert (await client.say(b"RCPT TO:<a@b.c>")).startswith(b"503 5.5.1")
        await client.say(b"MAIL FROM:<a@b.c>")
        await client.hello()
        assert (await client.say(b"RCPT TO:<a@b.c>")).startswith(b"503 5.5.1"), "EHLO begins anew"
        assert (await client.say(b"QUIT")).startswith(b"221 2.0.0")
        assert await client.rest() == b""


async def test_too_many_wrong_commands_end_the_session() -> None:
    async with serving() as server, connected(server) as client:
        client.send(b"BAD\r\n" * 1000)
        answers = (await client.rest()).splitlines()
        assert answers[-1].startswith(b"421 4.7.0")
        assert len(answers) == 21


async def test_a_message_sent_without_waiting_for_354_is_no_sequence_of_commands() -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.hello()
        client.send(b"MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n")
        answers = (await client.rest()).splitlines()
        assert [each[:9] for each in answers] == [b"250 2.1.0", b"250 2.1.5", b"503 5.5.0"]
    assert spool.stored == []


async def test_ten_thousand_recipients_are_cut_at_the_limit() -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.hello()
        client.send(b"MAIL FROM:<me@here.example>\r\n")
        client.send(b"".join(b"RCPT TO:<user%d@there.example>\r\n" % number for number in range(10_000)))
        client.send(b"DATA\r\n")
        answers = [(await client.reply())[:9] for _ in range(10_002)]
        assert answers == [b"250 2.1.0"] + [b"250 2.1.5"] * 100 + [b"452 4.5.3"] * 9_900 + [b"354 End d"]
        client.send(b"Subject: x\r\n\r\nhi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250")
    assert len(spool.stored[0].recipients) == 100


async def test_a_message_over_the_limit_is_refused_at_mail_or_at_its_end() -> None:
    spool = MemorySpool()
    limits = Limits(message_bytes=100_000, memory_bytes=10_000_000)
    async with serving(config(limits=limits), spool) as server, connected(server) as client:
        assert b"250-SIZE 100000\r\n" in await client.hello()
        assert (await client.say(b"MAIL FROM:<a@b.c> SIZE=100001")).startswith(b"552 5.3.4")
        await client.envelope()
        client.send((b"x" * 98 + b"\r\n") * 50_000)
        await eventually(lambda: server.counters.received_bytes > 4_000_000, "received")
        assert server.memory_used < 400_000
        client.send(b".\r\n")
        assert (await client.reply()).startswith(b"552 5.3.4")
        await client.envelope()
        client.send(b"hi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250"), "the session goes on"
    assert len(spool.stored) == 1


HEADS = {
    "a mail that loops": (b"Received: x\r\n" * 51, b"554 5.4.6"),
    "several authors": (b"From: a@b.example\r\nFrom: c@d.example\r\n", b"550 5.6.0"),
}


@pytest.mark.parametrize("case", HEADS)
async def test_a_head_that_cannot_be_passed_on_is_refused_and_the_session_goes_on(case: str) -> None:
    head, answer = HEADS[case]
    spool = MemorySpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.envelope()
        client.send(head + b"\r\nhi\r\n.\r\n")
        assert (await client.reply()).startswith(answer)
        await client.envelope()
        client.send(b"From: a@b.example\r\n\r\nhi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250")
    assert len(spool.stored) == 1
    assert server.memory_used == 0


async def test_a_report_with_null_reverse_path_is_taken() -> None:
    spool = MemorySpool()
    async with serving(spool=spool) as server, connected(server) as client:
        await client.hello()
        for line in (b"MAIL FROM:<>", b"RCPT TO:<you@there.example>"):
            assert (await client.say(line)).startswith(b"250")
        assert (await client.say(b"DATA")).startswith(b"354")
        client.send(b"Subject: Undelivered\r\n\r\nhi\r\n.\r\n")
        assert (await client.reply()).startswith(b"250")
    assert spool.stored[0].sender == ""


async def test_a_text_line_of_any_length_is_taken_as_it_is() -> None:
    spool = MemorySpool()
    line = b"x" * 5000 + b"\r\n"
    async with serving(spool=spool) as server, connected(server) as client:
        await client.envelope()
        client.send(b"Subject: long\r\n\r\n" + line + b".\r\n")
        assert (await client.reply()).startswith(b"250")
    assert spool.stored[0].message.endswith(b"\r\n" + line)


@pytest.mark.parametrize("seed", range(10))
async def test_garbage_is_answered_or_closed_and_the_server_lives(seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    words = [b"EHLO x\r\n", b"MAIL FROM:<a@b.c>\r\n", b"RCPT TO:<a@b.c>\r\n", b"DATA\r\n", b"\r\n.\r\n", b"AUTH "]
    spool = MemorySpool()
    async with serving(spool=spool) as server:
        for _ in range(20):
            async with connected(server) as client:
                for _ in range(dice.randrange(20)):
                    client.send(dice.choice([*words, dice.randbytes(dice.randrange(300))]))
                client.writer.write_eof()
                await client.rest()
        async with connected(server) as client:
            assert (await client.hello()).startswith(b"250")
        await eventually(lambda: server.counters.sessions_open <= 1, "all closed")
        assert server.memory_used == 0


async def test_a_client_that_reads_no_answers_is_not_read_either() -> None:
    async with serving(config(limits=Limits(command_seconds=0.5))) as server, connected(server) as client:
        cast("asyncio.Transport", client.writer.transport).pause_reading()
        client.send(b"HELP\r\n" * 2_000_000)
        await eventually(lambda: server.counters.received_bytes > 0, "reading began")
        await eventually(lambda: server.counters.sessions_open == 0, "given up")
        assert server.counters.received_bytes < 12_000_000
