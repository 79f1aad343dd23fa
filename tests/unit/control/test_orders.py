"""Obedience: the server turns at once, the delivery follows, and an order that changes nothing does nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relayfleet.protocol.telemetry import Order, Stand
from relayfleet.relay.control.orders import PATIENCE, Obedience

SERVE, LEAVE = Order(Stand.SERVE), Order(Stand.LEAVE, "PathSilent: nobody hears it")


class Parts:
    """Server and delivery. `gate`: the broker answers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    def serve(self, serves: bool) -> None:
        self.said.append(f"serve {serves}")

    async def pause(self) -> None:
        self.said.append("pause")
        await self.gate.wait()
        if self.error is not None:
            raise self.error

    async def resume(self) -> None:
        self.said.append("resume")


@asynccontextmanager
async def obeying(parts: Parts) -> AsyncIterator[Obedience]:
    obedience = Obedience(parts, parts)
    task = asyncio.create_task(obedience.run())
    try:
        yield obedience
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_order_is_obeyed_once_and_logged_once_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts()
    async with obeying(parts) as obedience:
        with caplog.at_level(logging.WARNING):
            for order in (SERVE, LEAVE, LEAVE, LEAVE):
                obedience.obey(order)
                await turns()
        assert parts.said == ["serve False", "pause"]
        assert obedience.stand is Stand.LEAVE
        assert [each.getMessage() for each in caplog.records] == ["ordered to leave: PathSilent: nobody hears it"]
        obedience.obey(SERVE)
        await turns()
        assert parts.said[2:] == ["serve True", "resume"]


async def test_while_the_broker_lets_us_wait_only_the_last_order_counts() -> None:
    parts = Parts()
    parts.gate.clear()
    async with obeying(parts) as obedience:
        obedience.obey(LEAVE)
        await turns()
        for order in (SERVE, LEAVE, SERVE, LEAVE):
            obedience.obey(order)
        parts.gate.set()
        await turns()
        assert [each for each in parts.said if not each.startswith("serve")] == ["pause"]
        assert parts.said[-1] == "serve False"


async def test_a_fault_of_ours_does_not_end_obedience() -> None:
    parts = Parts()
    parts.error = ZeroDivisionError("a fault of ours")
    async with obeying(parts) as obedience:
        obedience.obey(LEAVE)
        await turns()
        obedience.obey(SERVE)
        await turns()
        assert parts.said == ["serve False", "pause", "serve True", "resume"]


async def test_without_a_leader_for_long_a_relay_serves_again() -> None:
    parts = Parts()
    async with obeying(parts) as obedience:
        obedience.obey(LEAVE)
        await turns()
        obedience.look(PATIENCE - 1)
        await turns()
        assert parts.said == ["serve False", "pause"]
        obedience.look(PATIENCE + 1)
        await turns()
        assert parts.said == ["serve False", "pause", "serve True", "resume"]
