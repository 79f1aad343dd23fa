"""The operator's side and the relay's, each as it is, over real TLS and with the files of the pool's Secret."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from relayfleet.controllers.relaypeers import Peer
from relayfleet.controllers.relaypool import reconcile
from relayfleet.kube.client import Kube
from relayfleet.protocol import telemetry
from relayfleet.protocol.telemetry import Hello, Order, Stand, Window
from relayfleet.relay.control.keys import Keys
from relayfleet.relay.control.pulse import Pulse
from relayfleet.relay.control.server import ControlServer
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.control.vitals import Vitals
from relayfleet.relay.control.windows import Windows
from relayfleet.runtime.control import identity
from relayfleet.runtime.relaylinks import RelayLinks
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool
from tests.unit.controllers.scene import SETTINGS, context, operators_authority
from tests.unit.runtime.test_relaylinks import LEAVE, SERVE, until

TX = ("mail", "tx")


class Relay:
    """The relay's control server, with the Secret mounted at a folder."""

    def __init__(self, folder: Path) -> None:
        self.accepted = 0
        self.orders: list[Order] = []
        vitals = Vitals(lambda: 0.0, Pulse())
        windows = Windows(Tally(), lambda: (self.accepted, 0), vitals, self._stand)
        self._server = ControlServer(Keys(folder), windows, self.orders.append, "127.0.0.1")

    def _stand(self) -> Stand:
        return self.orders[-1].stand if self.orders else Stand.SERVE

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        running = asyncio.create_task(self._server.run(0))
        try:
            await until(lambda: self._server.port != 0)
            yield self._server.port
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


class Leader:
    """A replica's links, and what they heard."""

    def __init__(self, epoch: int) -> None:
        self.heard: list[Window] = []
        self.links = RelayLinks(Hello(f"leader {epoch}", epoch), lambda *each: self.heard.append(each[2]))

    def order(self, order: Order) -> None:
        self.links.follow(TX, [Peer("a", "127.0.0.1", order)])

    @asynccontextmanager
    async def leading(self, kube: FakeKube, folder: Path) -> AsyncIterator[None]:
        known = await identity(cast("Kube", kube), SETTINGS, folder)
        running = asyncio.create_task(self.links.run(known.client()))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def mounted(kube: FakeKube, folder: Path) -> Path:
    await reconcile(context(kube), *TX)
    folder.mkdir()
    for name, text in kube.seen("Secret", "tx-control")["data"].items():
        (folder / name).write_bytes(base64.b64decode(text))
    return folder


async def test_they_understand_each_other_and_the_fence_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(pool(), operators_authority())
    relay = Relay(await mounted(kube, tmp_path / "control"))
    old, new = Leader(7), Leader(8)
    async with relay.serving() as port:
        monkeypatch.setattr(telemetry, "PORT", port)
        async with old.leading(kube, tmp_path):
            old.order(LEAVE)
            await until(lambda: any(each.stand is Stand.LEAVE for each in old.heard))
            old.order(SERVE)
            relay.accepted += 3
            await until(lambda: sum(each.accepted for each in old.heard) == 3)
            await until(lambda: old.heard[-1].stand is Stand.SERVE)
            async with new.leading(kube, tmp_path):
                new.order(SERVE)
                await until(lambda: bool(new.heard))
                known, told = len(relay.orders), len(old.heard)
                old.order(LEAVE)
                await asyncio.sleep(1.0)
                assert {each.stand for each in relay.orders[known:]} <= {Stand.SERVE}
                assert len(old.heard) == told
