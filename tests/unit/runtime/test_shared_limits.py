"""Two relays and a leader, each as it is, over real TLS: the limits of a credential hold for the relays together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from relayfleet.controllers.relaypeers import Peer
from relayfleet.controllers.relayusage import PoolUsages
from relayfleet.kube.client import Kube
from relayfleet.protocol import telemetry
from relayfleet.protocol.relay_config import Broker, RelayConfig, SubmissionLimit
from relayfleet.protocol.telemetry import Hello
from relayfleet.relay.control.server import ControlServer
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay
from relayfleet.relay.server.replies import DAY_IS_SPENT, Refused
from relayfleet.runtime.control import identity
from relayfleet.runtime.relaylinks import RelayLinks
from tests.fakes.kube import FakeKube
from tests.unit.children.scene import pool
from tests.unit.controllers.scene import SETTINGS, operators_authority
from tests.unit.runtime.test_leader_and_relay import TX, mounted
from tests.unit.runtime.test_relaylinks import SERVE, until

CONFIG = RelayConfig("mail/tx", "eu", Broker(()), (), submission_limits=(SubmissionLimit("ann", None, 10),))
HOSTS = {"a": "127.0.0.1", "b": "127.0.0.2"}


@asynccontextmanager
async def controlled(control: ControlServer, port: int) -> AsyncIterator[int]:
    running = asyncio.create_task(control.run(port))
    try:
        await until(lambda: control.port != 0)
        yield control.port
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def led(kube: FakeKube, folder: Path, epoch: int) -> AsyncIterator[None]:
    """A leader who has just come."""
    usage = PoolUsages()
    links = RelayLinks(Hello(f"leader {epoch}", epoch), lambda *each: usage.take(*each), usage.told)
    known = await identity(cast("Kube", kube), SETTINGS, folder)
    links.follow(TX, [Peer(name, host, SERVE) for name, host in HOSTS.items()])
    running = asyncio.create_task(links.run(known.client()))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def used(relay: Relay) -> int:
    ((_, _, today),) = relay.server.allowances.entries()
    return today


async def test_what_one_relay_takes_the_others_know_also_who_starts_anew_and_the_next_leader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube(pool(), operators_authority())
    await mounted(kube, tmp_path / "control")
    one, two, again = (Relay(CONFIG, Files(tmp_path), name) for name in "aba")
    async with controlled(two.control(HOSTS["b"]), 0) as port:
        monkeypatch.setattr(telemetry, "PORT", port)
        async with led(kube, tmp_path, 1):
            async with controlled(one.control(HOSTS["a"]), port):
                one.server.allowances.claim("ann", 7).keep()
                await until(lambda: used(two) == 7)
                two.server.allowances.claim("ann", 2).keep()
                await until(lambda: used(one) == 9)
            async with controlled(again.control(HOSTS["a"]), port):
                await until(lambda: used(again) == 9)
        two.server.allowances.claim("ann", 1).keep()
        async with controlled(again.control(HOSTS["a"]), port), led(kube, tmp_path, 2):
            await until(lambda: used(again) == used(two) == 10)
            for relay in (again, two):
                with pytest.raises(Refused) as refused:
                    relay.server.allowances.look("ann")
                assert refused.value.reply is DAY_IS_SPENT
