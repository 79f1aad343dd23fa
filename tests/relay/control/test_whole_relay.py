"""A whole relay as its pod runs it, with a real queue: what it tells its leader, and what orders do not touch."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from relayfleet.protocol.relay_config import Delivery, Drain, Listener, RelayConfig
from relayfleet.protocol.telemetry import Order, Stand, Window
from relayfleet.relay.files import Files
from relayfleet.relay.main import Relay
from tests.fakes import ports
from tests.fakes.leader import Authority, Leader, led
from tests.relay.rabbitmq.cluster import PASSWORD, USERNAME, Cluster
from tests.relay.server.harness import LOOPBACK, connected
from tests.relay.spool.support import new_prefix

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

LEAVE, SERVE = Order(Stand.LEAVE, "a reason"), Order(Stand.SERVE)


@dataclass
class Pod:
    """A running relay and its ports."""

    relay: Relay
    running: asyncio.Task[int]
    status: int
    control: int
    heard: list[Window] = field(default_factory=list)

    async def get(self, path: str) -> tuple[int, str]:
        """An answer of its status server."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.status}{path}") as answer:
            return answer.status, await answer.text()

    async def ready(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            return (await self.get("/readyz"))[0] == 200
        return False

    async def hear(self, leader: Leader, enough: Callable[[Window], bool]) -> None:
        """Gather windows up to one that is enough."""
        async with asyncio.timeout(30):
            while True:
                self.heard.append(await leader.hear())
                if enough(self.heard[-1]):
                    return


def config(cluster: Cluster) -> RelayConfig:
    """No resolver answers, so what is accepted is deferred."""
    return RelayConfig(
        pool="mail/test",
        region="eu",
        broker=cluster.broker(new_prefix()),
        listeners=(Listener("smtp", (0,), "None"),),
        allowed_networks=LOOPBACK,
        delivery=Delivery(resolvers=("127.0.0.1:9",)),
        drain=Drain(unlist=0.0, grace=30.0),
    )


@asynccontextmanager
async def pod(cluster: Cluster, root: Path) -> AsyncIterator[Pod]:
    """As a pod mounts it, whose control folder may be there or not. In the end it gets SIGTERM, and must leave by itself."""
    (root / "broker").mkdir()
    for name, text in (("username", USERNAME), ("password", PASSWORD), ("ca.crt", Path(cluster.ca_file).read_text())):
        (root / "broker" / name).write_text(text)
    status, control = ports.unused(2)
    relay = Relay(config(cluster), Files(root), "relay")
    started = Pod(relay, asyncio.create_task(relay.run(status, control)), status, control)
    try:
        async with asyncio.timeout(60):
            while not await started.ready():
                assert not started.running.done(), "the relay has ended"
                await asyncio.sleep(0.05)
        yield started
    finally:
        if not started.running.done():  # or nobody might take the signal but the test's own process, which would end
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await started.running == 0


async def test_orders_change_what_clients_hear_but_not_readiness_and_a_drain_wins(
    rabbitmq: Cluster, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    authority.mount(tmp_path / "control")
    async with pod(rabbitmq, tmp_path) as running, led(running.control, authority.client()) as leader:
        async with connected(running.relay.server, greeted=False) as client:
            await client.reply()
            await client.envelope()
            client.send(b"Subject: x\r\n\r\nhi\r\n.\r\n")
            assert (await client.reply()).startswith(b"250")
        await running.hear(leader, lambda window: bool(window.lookups))
        assert sum(each.accepted for each in running.heard) == 1
        assert sum(row.confirmed for each in running.heard for row in each.confirms) >= 1
        assert {row.broker for each in running.heard for row in each.confirms} <= set(rabbitmq.addresses)
        assert {row.name for row in running.heard[-1].lookups} == {"127.0.0.1:9"}
        leader.say(LEAVE)
        await running.hear(leader, lambda window: window.stand is Stand.LEAVE)
        async with connected(running.relay.server, greeted=False) as client:
            assert (await client.reply()).startswith(b"421 4.3.2 ")
        assert await running.ready()
        leader.say(SERVE)
        await running.hear(leader, lambda window: window.stand is Stand.SERVE)
        async with connected(running.relay.server, greeted=False) as client:
            assert (await client.reply()).startswith(b"220 ")
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(10):
                while await running.ready():  # noqa: ASYNC110 - it is asked over HTTP
                    await asyncio.sleep(0.01)
            leader.say(LEAVE, SERVE)
            await running.hear(leader, lambda _: True)
            async with connected(running.relay.server, greeted=False) as late:
                assert (await late.reply()).startswith(b"421 4.3.2 ")


async def test_a_relay_without_certificates_relays_as_ever(rabbitmq: Cluster, tmp_path: Path) -> None:
    async with pod(rabbitmq, tmp_path) as running:
        async with connected(running.relay.server, greeted=False) as client:
            assert (await client.reply()).startswith(b"220 ")
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", running.control)
        status, metrics = await running.get("/metrics")
        assert status == 200
        assert 'relayfleet_relay_control_ended_total{why="garbage"} 0' in metrics
