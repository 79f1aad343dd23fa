"""How the operator's process ends: a lost lease is no crash."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any

import kopf
import pytest

from relayfleet.runtime import operator, proberprocess
from relayfleet.runtime.liveness import Liveness
from tests.unit.controllers.scene import SETTINGS


class Lease:
    """One that is had at once. `keep` ends as a test says."""

    held, epoch = True, 1

    def __init__(self, parts: dict[str, Any]) -> None:
        self._parts = parts

    def check(self) -> None: ...

    def beat(self) -> None: ...

    async def acquire(self) -> None: ...

    async def keep(self) -> None:
        await self._parts["keep"]()

    async def release(self) -> None: ...


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How each part ends, to be changed; `again` is what a new program was begun with."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    async def connected(*_: object) -> Any:
        return SimpleNamespace(close=lambda: asyncio.sleep(0))

    parts: dict[str, Any] = {"keep": never, "watch": never, "prober": never, "again": []}
    monkeypatch.setattr(operator, "connect", connected)
    monkeypatch.setattr(operator, "identity", never)
    monkeypatch.setattr(operator, "Lease", lambda *_: Lease(parts))
    monkeypatch.setattr(operator, "_watch", lambda *_: parts["watch"]())
    monkeypatch.setattr(proberprocess, "keep", lambda *_: parts["prober"]())
    monkeypatch.setattr(Liveness, "serve", never)
    monkeypatch.setattr(os, "execv", lambda *arguments: parts["again"].append(arguments))
    return parts


async def at_once() -> None:
    """Ends."""


async def badly() -> None:
    raise ValueError("a fault")


def test_who_has_lost_the_lease_begins_the_same_program_anew(ends: dict[str, Any]) -> None:
    ends["keep"] = at_once
    operator.run(SETTINGS)
    assert ends["again"] == [(sys.executable, sys.orig_argv)]
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, operator.SIGNALS)
    assert set(operator.SIGNALS) <= blocked, "a signal between the two programs would be lost"


@pytest.mark.parametrize(
    ("part", "how"), [("keep", badly), ("watch", badly), ("watch", at_once), ("prober", badly), ("prober", at_once)]
)
def test_whatever_else_ends_is_a_failure_for_the_kubelet(ends: dict[str, Any], part: str, how: Any) -> None:
    ends[part] = how
    assert operator.run(SETTINGS) == 1
    assert ends["again"] == []


async def test_kopf_leaves_the_signals_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own handlers end the watches first, and hold the lease for seconds."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    async def spawned(**_: object) -> tuple[()]:
        for number in operator.SIGNALS:
            loop.add_signal_handler(number, lambda: None)
        return ()

    async def running(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            await stop.wait()

    monkeypatch.setattr(kopf, "spawn_tasks", spawned)
    monkeypatch.setattr(kopf, "run_tasks", running)
    monkeypatch.setattr(operator, "IDENTIFIED", 0.0)
    known: asyncio.Task[Any] = asyncio.create_task(asyncio.Event().wait())
    wiring: Any = SimpleNamespace(register=lambda _: None, configure=lambda _: None)
    kube: Any = SimpleNamespace(list=lambda *_: asyncio.sleep(0))
    await operator._watch(SETTINGS, kube, wiring, known, stop)
    known.cancel()
    for number in operator.SIGNALS:
        loop.remove_signal_handler(number)


def test_who_is_asked_to_end_has_not_failed(ends: dict[str, Any]) -> None:
    async def asked() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    ends["watch"] = asked
    assert operator.run(SETTINGS) == 0
    assert ends["again"] == []
