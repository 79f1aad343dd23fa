"""Whoever follows the pool's events misses none, whatever happens to the brokers and to himself in between."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from relayfleet.protocol.relay_config import RelayConfig, dump
from relayfleet.relay.events.commands import told
from relayfleet.relay.events.event import Event as Told
from relayfleet.relay.events.event import Position
from relayfleet.relay.events.reading import BEGINNING, NOW, OtherJournalError, Reader, Start
from relayfleet.relay.files import Files
from relayfleet.relay.spool.interface import Event, SpoolError
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.record import Record
from tests.relay.rabbitmq.cluster import PASSWORD, USERNAME, Cluster
from tests.relay.spool.support import new_prefix, new_record, until
from tests.relay.spool.test_journal import TO, hold, journal

pytestmark = pytest.mark.broker

DEFERRED = Event("deferred", TO, {"reason": "Greylisted", "code": 451, "text": "later", "next": 1.8e9})


def reader(cluster: Cluster, prefix: str, start: Start) -> Reader:
    target = Target(cluster.broker(prefix), lambda: (USERNAME, PASSWORD), cluster.ca_file, "test events")
    return Reader(target, f"{prefix}.v1.journal", start)


async def follow(
    cluster: Cluster, prefix: str, start: Start, after: Position | None = None, *, follow: bool = True
) -> AsyncGenerator[Told, None]:
    async with aclosing(told(reader(cluster, prefix, start), "tx", after, follow=follow)) as found:
        async for lines in found:
            for each in lines:
                yield json.loads(each)


async def everything(cluster: Cluster, prefix: str, start: Start = BEGINNING) -> list[Told]:
    """All that the journal has now."""
    return [each async for each in follow(cluster, prefix, start, follow=False)]


def named(record: Record, name: str) -> Record:
    return dataclasses.replace(record, message=f"Message-ID: <{name}@shop>\r\n\r\n".encode(), credential="shop")


async def test_a_mail_is_told_of_from_its_first_attempt_to_its_end(rabbitmq: Cluster, tmp_path: Path) -> None:
    prefix = new_prefix()
    held = hold(named(new_record(), "one"))
    again = hold(dataclasses.replace(held.record, attempt=1))
    async with journal(rabbitmq, prefix, "relay-1") as one:
        claim = await one.claim(held, TO, "eu-1", "mx.example.org")
        one.withdraw(held, TO, claim)
        await one.tell(held, [DEFERRED])
        await one.claim(again, TO, "eu-1", "mx.example.org")
        await one.outcome(again, TO, True, "250 2.0.0 ok", "eu-1", "mx.example.org")
    found = await everything(rabbitmq, prefix)
    ordered = [each for each in found if each["event"] != "withdrawn"]  # that is stated when there is time
    assert [each["event"] for each in ordered] == ["accepted", "attempt", "deferred", "attempt", "delivered"]
    withdrawals = [each["time"] for each in found if each["event"] == "withdrawn"]
    assert len(set(withdrawals)) == 1, withdrawals  # told once more by who leaves before it is confirmed
    assert (ordered[0]["credential"], ordered[0]["messageId"]) == ("shop", "<one@shop>")
    assert {each["record"] for each in found} == {held.record.id}
    assert (ordered[-1]["attempt"], ordered[-1]["status"], ordered[-1]["source"]) == (1, "2.0.0", "eu-1")

    files = Files(tmp_path)
    for folder in ("relay", "broker"):
        (tmp_path / folder).mkdir()
    files.config.write_text(dump(RelayConfig("tx", "eu", rabbitmq.broker(prefix), ())))
    files.broker_ca.write_text(Path(rabbitmq.ca_file).read_text())
    (tmp_path / "broker" / "username").write_text(USERNAME)
    (tmp_path / "broker" / "password").write_text(PASSWORD)
    status, text = await run(files, "run_find('one@shop', 60.0, files)")
    assert status == 0
    assert f"record {held.record.id}, message id <one@shop>" in text
    assert "delivered to b@example.org; mx.example.org: 250 2.0.0 ok" in text
    assert (await run(files, "run_find('other', 60.0, files)"))[0] == 1
    (tmp_path / "broker" / "password").write_text("wrong")
    assert await run(files, "run_find('one@shop', 2.0, files)") == (2, "")
    (tmp_path / "broker" / "password").write_text(PASSWORD)
    status, text = await run(files, f"run_events({found[0]['offset']!r}, '', False, False, files=files)")
    assert status == 0
    # Whoever goes on within a first attempt is told once more how the mail came.
    assert [each for each in map(json.loads, text.splitlines()) if each["event"] != "accepted"] == found[1:]


async def run(files: Files, call: str) -> tuple[int | None, str]:
    """A command in a process of its own: exit status and what it wrote."""
    program = (
        "import sys, pathlib; from relayfleet.relay.files import Files; from relayfleet.relay.events.commands import *; "
        f"files = Files(pathlib.Path({str(files.root)!r})); sys.exit({call})"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return process.returncode, out.decode()


async def test_a_reader_begins_where_it_is_told_to(rabbitmq: Cluster) -> None:
    prefix = new_prefix()
    old, new = hold(new_record()), hold(new_record())
    async with journal(rabbitmq, prefix) as one:
        await one.tell(old, [DEFERRED])
        following = follow(rabbitmq, prefix, NOW)
        first = asyncio.ensure_future(anext(following))
        recent = follow(rabbitmq, prefix, Start(since=0.0))
        assert (await anext(recent))["record"] == old.record.id
        await recent.aclose()
        while not first.done():  # it does not say when it has begun
            await one.tell(new, [DEFERRED])
            await asyncio.wait([first], timeout=0.5)
        assert first.result()["record"] == new.record.id
        await following.aclose()
    with pytest.raises(OtherJournalError, match="not the one"):
        await everything(rabbitmq, prefix, Start(offset=10**9))


class Consumers:
    """One who follows, and one who dies after each hundred events and knows only the offset of the last one that he has worked on."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        self._cluster, self._prefix = cluster, prefix
        self.followed: list[Told] = []
        self.resumed: list[Told] = []
        self._tasks = [asyncio.create_task(each) for each in (self._follow(), self._resume())]

    async def _follow(self) -> None:
        async for each in follow(self._cluster, self._prefix, BEGINNING):
            self.followed.append(each)

    async def _resume(self) -> None:
        after: Position | None = None
        while True:
            start = BEGINNING if after is None else Start(offset=after.offset)
            async with aclosing(follow(self._cluster, self._prefix, start, after)) as events:
                for _ in range(100):
                    self.resumed.append(await anext(events))
            after = Position.parse(self.resumed[-1]["offset"])

    @property
    def ended(self) -> bool:
        """One of them broke."""
        return any(each.done() for each in self._tasks)

    def have(self, stated: list[str]) -> bool:
        """Both have all events of these records."""
        return all(
            set(stated) <= {each["record"] for each in found if each["event"] == name}
            for found in (self.followed, self.resumed)
            for name in ("deferred", "bounced")
        )

    async def stop(self) -> None:
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_nobody_who_follows_or_resumes_misses_an_event_while_the_streams_leader_is_gone(
    rabbitmq: Cluster, fault: str
) -> None:
    prefix = new_prefix()
    stated: list[str] = []
    async with journal(rabbitmq, prefix, "one") as one:

        async def work() -> None:
            while True:
                held = hold(new_record())
                try:
                    await one.tell(held, [DEFERRED, dataclasses.replace(DEFERRED, name="bounced")])
                except SpoolError:
                    await asyncio.sleep(0.05)
                    continue
                stated.append(held.record.id)
                await asyncio.sleep(0.05)

        consumers = Consumers(rabbitmq, prefix)
        workers = [asyncio.create_task(work()) for _ in range(5)]
        await until(lambda: min(len(stated), len(consumers.followed), len(consumers.resumed)) > 50, 30)
        leader = rabbitmq.leader(f"{prefix}.v1.journal", ask=1)
        await asyncio.to_thread(rabbitmq.kill if fault == "killed" else rabbitmq.freeze, leader)
        before = len(stated)
        await until(lambda: len(stated) > before + 200, 60, lambda: one.why_not)
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        # Told while the node is still away: one who follows comes to another.
        await until(lambda: consumers.ended or consumers.have(stated), 60)
        assert not consumers.ended
        rabbitmq.mend()
        await rabbitmq.healthy()
        await consumers.stop()
    assert consumers.have(stated)
    assert "gap" not in {each["event"] for each in consumers.followed + consumers.resumed}
    print(f"stream leader {fault}: {len(stated)} records stated, {len(consumers.followed)} events followed")
