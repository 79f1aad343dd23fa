"""The client against a real sink that misbehaves: what it writes down is what happened, and the judge agrees."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ledger.entries import Entry, Ledger, read
from tests.ledger.judge import judge
from tests.ledger.mail import compose
from tests.ledger.submit import Plan, submit
from tests.sink.certificate import self_signed
from tests.sink.client import SinkClient
from tests.sink.server import Options, Sink


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink(Options("127.0.0.1", (0, 0), 0, tls=self_signed("sink.example.test"))) as running:
        yield running


@pytest.fixture
def client(sink: Sink) -> SinkClient:
    return SinkClient(f"http://127.0.0.1:{sink.http_port}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def plan(sink: Sink, *recipients: str) -> Plan:
    targets = tuple(f"127.0.0.1:{port}" for port in sink.smtp_ports)
    return Plan(
        targets, recipients or ("user{n}@one.test",), count=30, concurrency=3, reuse=7, retry_after=0.01, give_up=100
    )


async def sent(what: Plan, path: Path) -> list[Entry]:
    with Ledger(path) as ledger:
        await submit(what, ledger)
    return list(read(path))


async def test_all_are_accepted_over_tls_at_both_targets_in_sessions_of_seven(
    sink: Sink, client: SinkClient, path: Path
) -> None:
    entries = await sent(dataclasses.replace(plan(sink), tls="starttls"), path)
    messages = await client.messages()
    verdict = judge(entries, messages)
    assert (verdict.good, verdict.accepted, verdict.delivered) == (True, 30, 30)
    assert {each.target for each in entries} == {f"127.0.0.1:{port}" for port in sink.smtp_ports}
    assert {each["tls"] for each in messages} == {"TLSv1.3"}
    sessions = [each["session"] for each in messages]
    assert max(sessions.count(each) for each in sessions) <= 7
    assert {each.queued for each in entries} == {str(each["n"]) for each in messages}


DOUBTS = ["dot-lost-1x", "dot-451-1x", "dot-close-1x", "data-451-1x", "dot-421-1x"]


@pytest.mark.parametrize("order", DOUBTS)
async def test_a_doubtful_answer_is_followed_by_the_same_mail_again(
    sink: Sink, client: SinkClient, path: Path, order: str
) -> None:
    entries = await sent(plan(sink, f"user{{n}}+{order}@one.test"), path)
    assert sum(each.doubtful for each in entries) == 30
    verdict = judge(entries, await client.messages())
    assert (verdict.accepted, verdict.lost, verdict.duplicates) == (30, (), ())
    assert len(verdict.explained) == (30 if "lost" in order else 0)


@pytest.mark.parametrize("order", ["rcpt-451-2x", "rcpt-421-1x", "rcpt-reset-1x"])
async def test_an_answer_before_the_dot_leaves_no_doubt(sink: Sink, client: SinkClient, path: Path, order: str) -> None:
    entries = await sent(plan(sink, f"user{{n}}+{order}@one.test"), path)
    assert not any(each.doubtful for each in entries)
    verdict = judge(entries, await client.messages())
    assert (verdict.accepted, verdict.delivered, verdict.good) == (30, 30, True)


async def test_a_refusal_is_final_for_the_recipient_that_it_names_and_the_others_get_theirs(
    sink: Sink, client: SinkClient, path: Path
) -> None:
    recipients = ("good{n}@one.test", "bad{n}+rcpt-550@one.test", "late{n}+rcpt-451-1x@one.test")
    entries = await sent(dataclasses.replace(plan(sink, *recipients), per_mail=3), path)
    refused = [name for each in entries if each.outcome == "refused" for name in each.recipients]
    assert len(refused) == 30
    assert all(name.startswith("bad") for name in refused)
    verdict = judge(entries, await client.messages())
    assert (verdict.accepted, verdict.delivered, verdict.good) == (60, 60, True)


async def test_a_target_that_is_not_there_is_passed_over(sink: Sink, client: SinkClient, path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{nobody.getsockname()[1]}"
        entries = await sent(dataclasses.replace(plan(sink), targets=(dead, f"127.0.0.1:{sink.smtp_ports[0]}")), path)
    assert {each.outcome for each in entries if each.target == dead} == {"failed"}
    assert judge(entries, await client.messages()).delivered == 30


async def test_when_it_is_enough_no_more_is_made_and_what_was_made_is_sent(
    sink: Sink, client: SinkClient, path: Path
) -> None:
    enough = asyncio.Event()
    endless = dataclasses.replace(plan(sink, "user{n}+rcpt-451-1x@one.test"), count=1_000_000, rate=200.0)
    with Ledger(path) as ledger:
        sending = asyncio.create_task(submit(endless, ledger, enough))
        await client.wait_for(5, 20)
        enough.set()
        outcomes = await asyncio.wait_for(sending, 20)
    entries = list(read(path))
    made = {each.test_id for each in entries}
    verdict = judge(entries, await client.messages())
    assert len(made) < endless.count
    assert outcomes["accepted"] == verdict.accepted == verdict.delivered == len(made)


async def test_what_is_never_accepted_is_given_up_in_time(sink: Sink, path: Path) -> None:
    entries = await sent(dataclasses.replace(plan(sink, "a{n}+rcpt-451@one.test"), count=3, give_up=0.1), path)
    assert [each.outcome for each in entries].count("given-up") == 3
    assert judge(entries, []).accepted == 0


@pytest.mark.parametrize("size", [0, 1000, 2048, 51_200])
def test_a_mail_has_its_size_and_no_bare_line_end(size: int) -> None:
    message = compose("t-1", "s@example.com", ["a@one.test"], size).message
    assert len(message) == size or size == 0
    assert message.endswith(b"\r\n")
    assert message.count(b"\n") == message.count(b"\r\n") == message.count(b"\r")


async def test_the_command_line_sends_and_judges(sink: Sink, path: Path) -> None:
    control = f"http://127.0.0.1:{sink.http_port}"
    commands = (
        ["submit", "--target", f"127.0.0.1:{sink.smtp_ports[0]}", "--recipient", "u{n}@one.test", "--count", "5"],
        ["judge", "--sink", control],
    )
    said = []
    for command in commands:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.ledger", *command, "--ledger", str(path), stdout=asyncio.subprocess.PIPE
        )
        said.append((await process.communicate())[0].decode())
        assert process.returncode == 0
    assert '"accepted": 5' in said[0]
    assert said[1].startswith("GOOD: accepted 5, delivered 5, lost 0, duplicates 0")
