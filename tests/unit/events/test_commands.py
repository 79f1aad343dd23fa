"""The commands without a broker: places, gaps, what is found, what is said of mistakes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import Broker, RelayConfig, dump
from relayfleet.relay.events.commands import Search, _since, run_events, run_find, told
from relayfleet.relay.events.event import Position
from relayfleet.relay.events.reading import NOW, Message, Reader, Start
from relayfleet.relay.events.words import OPEN, history
from relayfleet.relay.files import Files
from relayfleet.relay.spool.rabbitmq.entries import Entry, encode

PLACE = ("relay-1/ab12", 1.5e9, 7)
TO = ("a@x.test",)
FIRST = {"message_id": "<m@shop>", "accepted": 1.5e9, "accepted_for": 1, "credential": "shop"}


def claim(record: str, **detail: object) -> Entry:
    return Entry("claim", f"{record}.0", TO, *PLACE, source="eu-1", host="mx.x.test", detail=detail)


def delivered(record: str) -> Entry:
    detail = {"message_id": "<m@shop>", "source": "eu-1", "host": "mx.x.test"}
    return Entry("outcome", f"{record}.0", TO, *PLACE, delivered=True, answer="250 2.0.0 ok", detail=detail)


class Written(Reader):
    """A reader of messages that stand here."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self.end = messages[-1].offset

    async def messages(self, *, follow: bool) -> AsyncGenerator[Message, None]:
        for each in self._messages:
            yield each


def journal(*batches: Sequence[Entry], first: int = 5) -> Written:
    return Written([Message(first + number, encode(batch)) for number, batch in enumerate(batches)])


async def lines(reader: Reader, after: Position | None = None) -> list[tuple[str, str]]:
    found = [json.loads(line) async for some in told(reader, "tx", after, follow=False) for line in some]
    return [(each["offset"], each["event"]) for each in found]


async def test_whoever_goes_on_behind_any_line_gets_all_that_came_after_it_and_nothing_before() -> None:
    written = journal([claim("A", **FIRST), claim("B")], [delivered("A")], [delivered("B")])
    everything = await lines(written)
    assert [name for _, name in everything] == ["accepted", "attempt", "attempt", "delivered", "delivered"]
    for number, (offset, _) in enumerate(everything):
        assert await lines(written, Position.parse(offset)) == everything[number + 1 :]


async def test_what_is_not_kept_any_more_is_told_as_a_gap() -> None:
    assert await lines(journal([delivered("A")], first=9), Position(5, 1)) == [("5-1", "gap"), ("9-1", "delivered")]


async def test_a_gap_is_told_wherever_it_is() -> None:
    one, two = Message(5, encode([claim("A")])), Message(90, encode([delivered("A")]), gap=True)
    assert await lines(Written([one, two])) == [("5-1", "attempt"), ("5-1", "gap"), ("90-1", "delivered")]


@pytest.mark.parametrize("word", ["A", "<m@shop>", "m@shop"])
async def test_one_mail_is_found_by_its_id_and_by_its_message_id(word: str) -> None:
    search = Search(word, "tx")
    withdrawn = Entry("withdrawal", "A.0", TO, *PLACE)
    await search.through(journal([claim("A", **FIRST)], [claim("B", message_id="<other@shop>")], [withdrawn]))
    assert {record: [each["event"] for each in found] for record, found in search.found.items()} == {
        "A": ["accepted", "attempt", "withdrawn"]
    }


async def test_part_of_an_id_finds_nothing_and_the_search_says_how_far_it_saw() -> None:
    search = Search("sho", "tx")
    await search.through(journal([claim("A", **FIRST)]))
    assert search.found == {}
    assert "2017-07-14T02:40:00.000Z" in search.reach
    assert "accepted id=" in search.reach


async def test_a_person_reads_the_history_in_plain_words() -> None:
    search = Search("A", "tx")
    deferred = Entry(
        "event",
        "A.0",
        TO,
        *PLACE,
        name="deferred",
        detail={
            "reason": "Greylisted",
            "code": 451,
            "status": "4.7.1",
            "text": "later",
            "host": "mx.x.test",
            "next": 1.5e9,
        },
    )
    await search.through(journal([claim("A", **FIRST), deferred, delivered("A")]))
    text = "\n".join(history(search.found["A"]))
    for words in (
        "record A, message id <m@shop>",
        "accepted from credential shop for 1 recipients",
        "attempt 0: relay-1 hands it to mx.x.test from eu-1 for a@x.test",
        "attempt 0: deferred for a@x.test (Greylisted); mx.x.test: 451 4.7.1 later; next at 2017-07-14T02:40:00.000Z",
        "attempt 0: delivered to a@x.test; mx.x.test: 250 2.0.0 ok",
    ):
        assert words in text
    assert OPEN not in text


async def test_a_claim_without_an_answer_is_explained() -> None:
    search = Search("A", "tx")
    await search.through(journal([claim("A", **FIRST)]))
    assert OPEN in "\n".join(history(search.found["A"]))


async def test_what_senders_and_peers_say_commands_no_terminal_and_begins_no_line() -> None:
    search = Search("A", "tx")
    evil = "<\x1b]0;yours\x07\x9b2J\u202e\n\ud800@shop>"
    entry = Entry(
        "event", "A.0", ("\x9bA@x.test",), *PLACE, name="quarantined", detail={"text": evil, "message_id": evil}
    )
    await search.through(journal([entry]))
    await search.through(
        journal([Entry("event", "B.0", TO, *PLACE, name="odd", detail={"message_id": 7, "text": "A"})])
    )
    lines = list(history(search.found["A"]))
    assert len(lines) == 2
    assert all(each.isprintable() and each.encode() for each in lines)
    assert "<?]0;yours??2J???@shop>" in lines[0]


def test_times_are_taken_as_durations_or_with_their_zone() -> None:
    assert _since("", 100.0) == NOW
    assert [_since(each, 9000.0) for each in ("30s", "2m", "1h")] == [
        Start(since=8970.0),
        Start(since=8880.0),
        Start(since=5400.0),
    ]
    assert _since("1970-01-01T00:01:00Z", 100.0) == Start(since=60.0)


@pytest.mark.parametrize(
    ("since", "after", "says"),
    [("yesterday", "", "neither a duration"), ("2026-01-31T12:00:00", "", "time zone"), ("", "12", "no offset")],
)
def test_mistakes_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], since: str, after: str, says: str
) -> None:
    (tmp_path / "relay").mkdir()
    (tmp_path / "relay" / "relay.json").write_text(dump(RelayConfig("tx", "eu", Broker(()), ())))
    assert run_events(after, since, False, False, io.BytesIO(), Files(tmp_path)) == 2
    assert says in capsys.readouterr().err


def test_outside_a_relays_pod_it_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_find("A", 1.0, Files(tmp_path)) == 2
    assert "relay.json" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["", "<>", " "])
def test_nothing_is_looked_for_without_an_id(tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    # Mails without a Message-ID would all be it.
    assert run_find(word, 1.0, Files(tmp_path)) == 2
    assert "say which" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "status"), [("run_events('', '', False, True, files=files)", 0), ("run_find('A', 60.0, files)", 2)]
)
async def test_a_search_that_is_ended_does_not_say_found(tmp_path: Path, call: str, status: int) -> None:
    files = Files(tmp_path)
    files.config.parent.mkdir()
    files.config.write_text(dump(RelayConfig("tx", "eu", Broker(("127.0.0.1:1",)), ())))
    (tmp_path / "broker").mkdir()
    program = (
        "import sys, pathlib; from relayfleet.relay.files import Files; from relayfleet.relay.events.commands import *; "
        "import asyncio, os, signal; from relayfleet.relay.events import reading; "
        "reading.Link.start = lambda self: asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM); "
        f"files = Files(pathlib.Path({str(tmp_path)!r})); sys.exit({call})"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    async with asyncio.timeout(20):
        assert await process.wait() == status


async def test_a_reader_who_does_not_read_keeps_us_no_longer_than_a_signal(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.config.parent.mkdir()
    files.config.write_text(dump(RelayConfig("tx", "eu", Broker(("127.0.0.1:1",)), ())))
    program = (
        "import sys, os, pathlib, signal, asyncio\nfrom relayfleet.relay.files import Files\nfrom relayfleet.relay.events import commands\n"
        "commands.LEAVE_SECONDS = 0.5\n"
        "async def endless(*each, **more):\n"
        "    asyncio.get_running_loop().call_later(0.5, os.kill, os.getpid(), signal.SIGTERM)\n"
        "    while True:\n"
        "        yield [b'x' * 1_000_000]\n"
        "commands.told = endless\n"
        f"sys.exit(commands.run_events('', '', False, True, files=Files(pathlib.Path({str(tmp_path)!r}))))"
    )
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=write)
    os.close(write)
    try:
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        os.close(read)
        with suppress(ProcessLookupError):
            process.kill()
