"""What one relay does about destinations that nobody reaches: what it says to the others and when, and which of their words it believes. In virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from random import Random
from typing import cast

import pytest

from relayfleet.protocol.relay_config import Source
from relayfleet.relay.delivery.errors import SmtpError
from relayfleet.relay.delivery.session import Session
from relayfleet.relay.parking.known import EVERY, GOOD, SPREAD
from relayfleet.relay.parking.parking import Parking
from relayfleet.relay.spool.interface import Journal, Word
from tests.fakes.clock import in_virtual_time
from tests.fakes.journal import MemoryJournal
from tests.unit.parking.test_trial import NO_ADDRESS, NO_ANSWER, NO_GREETING, NOT_OURS, UNREACHABLE, Pool

HERE = ("a",)
SOURCES = (Source("one", "", "one.test"), Source("two", "", "two.test"))


class _Pool(Pool):
    """`by`: the source of each call."""

    def __init__(
        self,
        hosts: Mapping[str, list[str] | Exception],
        answers: Mapping[str, SmtpError | None],
        slow: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(hosts, answers, slow)
        self.by: list[str] = []

    async def dial(self, source: Source, host: str, address: str, deadline: float) -> Session:
        self.by.append(source.name)
        return await super().dial(source, host, address, deadline)


class Scene:
    """One relay with two sources, which has mail for a destination that another one has just said to be dead."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.journal = pool, MemoryJournal()
        self.parking = Parking(pool, lambda: SOURCES, cast("Journal", self.journal), Random(3))
        self.parking.use(True)
        self.hear(Word(HERE, dead=True))

    @property
    def said(self) -> list[Word]:
        return self.journal.said

    def hear(self, word: Word) -> None:
        (heard,) = self.journal.listeners
        heard(word)
        self.parking.parked(HERE)

    async def run(self, seconds: float) -> None:
        self.parking.start()
        await asyncio.sleep(seconds)
        await self.parking.stop()


def play(pool: Pool, seconds: float, before: Callable[[Scene], None] = lambda scene: None) -> tuple[Scene, int]:
    """The scene, and how many destinations were dead at its end."""

    async def work() -> tuple[Scene, int]:
        scene = Scene(pool)
        before(scene)
        await scene.run(seconds)
        return scene, scene.parking.dead

    return in_virtual_time(work())


def test_others_hear_that_it_is_tried_before_and_that_nobody_is_there_afterwards() -> None:
    scene, dead = play(Pool({"a": ["1.1"]}, {"1.1": UNREACHABLE}), 600)
    assert dead == 1
    assert [each.tries for each in scene.said[:4]] == [True, False, True, False]
    assert all(each.dead for each in scene.said)


@pytest.mark.parametrize("addresses", [NO_ADDRESS, NO_ANSWER, ["1.1"]])
def test_trials_that_show_nothing_let_its_mail_be_tried_and_no_other_relay_believes_it_for_longer(
    addresses: list[str] | Exception,
) -> None:
    """Its records are gone, DNS does not answer, or the fault is ours."""
    scene, dead = play(Pool({"a": addresses}, {"1.1": NOT_OURS}), GOOD + 1)
    assert dead == 0
    assert scene.said
    assert all(each.tries for each in scene.said)


def test_trials_that_take_longer_than_a_minute_come_from_all_sources_in_turn() -> None:
    silent = [str(each) for each in range(7)]  # more than are called at once
    pool = _Pool({"a": list(silent)}, dict.fromkeys(silent, NO_GREETING), dict.fromkeys(silent, 300.0))
    _, dead = play(pool, 1200)
    assert dead == 1
    assert pool.by.count("one") > 0 < pool.by.count("two")
    assert abs(pool.by.count("one") - pool.by.count("two")) <= len(silent)


def test_a_relay_that_is_paused_tries_nobody_and_says_nothing() -> None:
    def pause(scene: Scene) -> None:
        scene.parking.is_paused = True

    scene, dead = play(Pool({"a": ["1.1"]}, {"1.1": UNREACHABLE}), GOOD + 1, pause)
    assert (dead, scene.said, scene.pool.counters.dialed, scene.pool.called.total()) == (0, [], 0, 0)


def test_a_relay_that_begins_believes_words_for_as_long_as_they_last_and_makes_no_news_of_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def work() -> list[int]:
        journal, found = MemoryJournal(), list[int]()
        parking = Parking(Pool({}, {}), lambda: (), cast("Journal", journal), Random(3))
        parking.use(True)
        (heard,) = journal.listeners
        heard(Word(HERE, dead=True, age=GOOD + 1))
        found.append(parking.dead)
        heard(Word(HERE, dead=False, age=GOOD + 1))
        found.append(len(parking.due()))
        heard(Word(HERE, dead=True, age=100.0))
        found.append(parking.dead)
        await asyncio.sleep(GOOD - 100.0)
        return [*found, parking.dead]

    assert in_virtual_time(work()) == [0, 0, 1, 0]
    assert caplog.records == []


def test_who_is_told_that_another_relay_tries_waits_a_minute_more() -> None:
    async def work() -> int:
        scene = Scene(Pool({"a": ["1.1"]}, {"1.1": UNREACHABLE}))
        running = asyncio.create_task(scene.run(2 * EVERY - 2))
        await asyncio.sleep(EVERY - 1)
        scene.hear(Word(HERE, dead=True, tries=True))
        await running
        return scene.pool.called.total()

    assert EVERY > SPREAD
    assert in_virtual_time(work()) == 0
