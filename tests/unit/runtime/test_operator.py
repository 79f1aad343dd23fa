"""How the operator's process ends: a lost lease is no crash."""

from __future__ import annotations

import asyncio
import os
import sys
from types import SimpleNamespace
from typing import Any

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


@pytest.mark.parametrize(
    ("part", "how"), [("keep", badly), ("watch", badly), ("watch", at_once), ("prober", badly), ("prober", at_once)]
)
def test_whatever_else_ends_is_a_failure_for_the_kubelet(ends: dict[str, Any], part: str, how: Any) -> None:
    ends[part] = how
    assert operator.run(SETTINGS) == 1
    assert ends["again"] == []


def test_who_is_asked_to_end_has_not_failed(ends: dict[str, Any]) -> None:
    async def asked() -> None:
        os.kill(os.getpid(), 15)
        await asyncio.Event().wait()

    ends["watch"] = asked
    assert operator.run(SETTINGS) == 0
    assert ends["again"] == []
