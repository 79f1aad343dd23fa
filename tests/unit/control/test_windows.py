"""When a window is told, and what the relay says of itself."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path

import pytest

from relayfleet.protocol.telemetry import (
    BEAT,
    PERIOD,
    Confirms,
    Dependency,
    DependencyState,
    Stand,
    Usage,
    Usages,
    Window,
)
from relayfleet.relay.control import machine
from relayfleet.relay.control.pulse import BEAT as PULSE_BEAT
from relayfleet.relay.control.pulse import Pulse
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.control.vitals import Used, Vitals
from relayfleet.relay.control.windows import Windows


class StillPulse(Pulse):
    """Late by what the test says."""

    def __init__(self) -> None:
        self.late = 0.0

    def lag(self, within: float) -> float:
        return self.late

    def mean(self, within: float) -> float:
        return self.late


class Scene:
    """Windows over things that the test turns."""

    def __init__(self, files: Used = lambda: (10, 1000), memory: Used = lambda: (0, 0)) -> None:
        self.tally, self.pulse = Tally(), StillPulse()
        self.intake = (7, 3)
        self.load = 0.0
        self.stand = Stand.SERVE
        self.signing = self.unpublished = ""
        self.sealing = (False, "")
        vitals = Vitals(lambda: self.load, self.pulse, files, memory)
        self.dependencies: tuple[Dependency, ...] = ()
        self.resolvers: tuple[Dependency, ...] = ()
        self.usages: Usages | None = None
        self.windows = Windows(
            self.tally,
            lambda: self.intake,
            vitals,
            lambda: self.stand,
            lambda: self.signing,
            lambda: self.dependencies,
            lambda: self.sealing,
            lambda: self.resolvers,
            lambda: self.unpublished,
            usages=lambda: self.usages,
        )
        self.windows.begin(100.0)

    def next(self, now: float) -> Window:
        window = self.windows.next(now)
        assert window is not None
        return window


def rounded(window: Window) -> Window:
    return dataclasses.replace(window, age=round(window.age, 6))


def test_trouble_with_a_key_is_told_at_once_and_its_end_too() -> None:
    scene = Scene()
    scene.signing = "mail of a.test is kept back"
    assert scene.next(100.2).signing == scene.signing
    assert scene.windows.next(100.4) is None
    scene.signing = ""
    assert scene.next(100.6).signing == ""
    scene.unpublished = "publish it"
    assert scene.next(100.8).unpublished == "publish it"
    assert scene.windows.next(101.0) is None
    scene.unpublished = ""
    assert scene.next(101.2).unpublished == ""


def test_what_credentials_submitted_is_told_when_it_changes_and_whole_to_another_leader() -> None:
    scene = Scene()
    ann, bob = Usage("ann", 0), Usage("bob", 2)
    scene.usages = Usages(7, "run", (ann, bob))
    assert scene.next(100.2).usage == scene.usages, (
        "also what is nothing yet: the leader answers only what it was told of"
    )
    assert scene.windows.next(100.4) is None
    scene.usages = Usages(7, "run", (replaced := Usage("ann", 1), bob))
    assert scene.next(100.6).usage == Usages(7, "run", (replaced,))
    assert scene.next(100.6 + BEAT).usage is None
    scene.windows.begin(102.0)
    assert scene.next(102.2).usage == scene.usages
    scene.usages = None
    assert scene.windows.next(102.4) is None


def test_a_window_is_told_at_once_when_something_happened_and_once_a_beat_otherwise() -> None:
    scene = Scene()
    assert scene.windows.next(100.0 + PERIOD) is None
    scene.intake = (9, 4)
    assert rounded(scene.next(100.4)) == Window(accepted=2, deferred=1, strain=0.01, lanes=True, parks=True, age=0.2)
    assert scene.windows.next(100.4 + BEAT - 0.01) is None
    assert rounded(scene.next(100.4 + BEAT)) == Window(strain=0.01, lanes=True, parks=True, age=BEAT / 2)
    assert scene.windows.next(101.5, at_once=True) is not None


def test_a_change_of_the_stand_or_of_fitness_is_news() -> None:
    used = [10]
    scene = Scene(files=lambda: (used[0], 100))
    scene.stand = Stand.LEAVE
    assert scene.next(100.2).stand is Stand.LEAVE
    assert scene.windows.next(100.4) is None
    used[0] = 100
    assert "descriptors" in scene.next(101.6).unfit
    used[0] = 10
    assert scene.next(102.8).unfit == ""


def test_a_change_of_a_dependency_is_news_and_all_are_in_every_window() -> None:
    scene = Scene()
    for at, state in ((100.2, DependencyState.ANSWERS), (100.4, DependencyState.DOWN)):
        scene.dependencies = (Dependency("db", state, 0.0),)
        assert scene.next(at).dependencies == scene.dependencies
        scene.dependencies = (Dependency("db", state, 5.0, "another cause"),)
        assert scene.windows.next(at + 0.1) is None, "that it goes on is none"
    scene.intake = (8, 3)
    assert scene.next(100.6).dependencies == scene.dependencies


def test_that_a_resolver_is_seen_in_another_state_is_news_at_once() -> None:
    scene = Scene()
    for at, state in ((100.2, DependencyState.ANSWERS), (100.4, DependencyState.DOWN)):
        scene.resolvers = (Dependency("192.0.2.53:53", state, 0.0),)
        assert scene.next(at).resolvers == scene.resolvers
        assert scene.windows.next(at + 0.1) is None


def test_a_new_leader_hears_only_what_happens_from_now_on() -> None:
    scene = Scene()
    scene.intake = (9, 9)
    scene.tally.confirm("b:1", False)
    scene.windows.begin(200.0)
    assert scene.next(201.0) == Window(strain=0.01, lanes=True, parks=True, age=0.5)


def test_a_window_in_which_we_were_away_blames_nobody_for_being_late() -> None:
    scene = Scene()
    for late in (0.1, 3.0):
        scene.pulse.late = late
        scene.tally.confirm("b:1", True)
        scene.tally.confirm("b:1", False)
        assert scene.next(101.0).confirms == (Confirms("b:1", 1, late=int(late < 1)),)


@pytest.mark.parametrize(
    ("load", "lag", "files", "strain"),
    [
        (0.5, 0.0, (0, 100), 0.5),
        (0.1, 0.05, (0, 100), 0.2),
        (0.1, 0.0, (70, 100), 0.7),
        (1.5, 0.0, (0, 100), 1.0),
        (0.0, 3.0, (0, 0), 1.0),
    ],
)
def test_strain_is_the_share_of_the_tightest_limit(
    load: float, lag: float, files: tuple[int, int], strain: float
) -> None:
    scene = Scene(files=lambda: files)
    scene.load, scene.pulse.late = load, lag
    assert scene.next(101.0).strain == pytest.approx(strain)


def test_without_descriptors_or_memory_a_relay_is_unfit() -> None:
    assert "descriptors" in Scene(files=lambda: (1020, 1024)).next(101.0).unfit
    assert "memory" in Scene(memory=lambda: (98 << 20, 100 << 20)).next(101.0).unfit
    assert Scene(files=lambda: (500, 1024), memory=lambda: (50, 100)).next(101.0).unfit == ""


async def test_the_pulse_notices_that_the_loop_stood_still() -> None:
    pulse = Pulse()
    await asyncio.sleep(3 * PULSE_BEAT)
    time.sleep(0.4)  # noqa: ASYNC251 - this is the fault
    assert pulse.lag(0.1) >= 0.3, "before its own beat came to it"
    await asyncio.sleep(3 * PULSE_BEAT)
    assert pulse.lag(5.0) >= 0.3
    pulse.close()


def test_files_in_use_are_counted(tmp_path: Path) -> None:
    before, most = machine.open_files()
    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        assert machine.open_files() == (before + 2, most)
    assert machine.open_files(tmp_path / "nowhere") == (0, most)


def test_memory_that_the_kernel_can_take_back_does_not_count(tmp_path: Path) -> None:
    assert machine.memory(tmp_path) == (0, 0)
    (tmp_path / "memory.stat").write_text("anon 600\nfile 9000\nunevictable 50\nanon_thp 7\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert machine.memory(tmp_path) == (650, 1000)
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory(tmp_path) == (0, 0)


def test_that_a_relay_opens_sealed_records_and_that_some_wait_is_news() -> None:
    scene = Scene()
    scene.next(101.0)
    for said in ((True, ""), (True, "mail waits")):
        assert scene.windows.next(scene.windows._since + PERIOD) is None
        scene.sealing = said
        window = scene.next(scene.windows._since + PERIOD)
        assert (window.opens, window.sealing) == said
