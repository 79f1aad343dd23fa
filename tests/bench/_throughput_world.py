"""All that the throughput bench runs on one machine: three brokers, Postfix, one client, one sink. And what one run with them costs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.bench._faults_relays import free_space
from tests.bench._throughput_postfix import Postfix
from tests.bench._throughput_relay import Brokers, Relay
from tests.bench._throughput_tools import Client, Load, Sink, cleared
from tests.testbed.shell import run

ARRIVAL_SECONDS = 120.0
PAUSE_SECONDS = 1.0
"""Between two runs, so that the end of one is not in the figures of the next."""


class Side(Protocol):
    """Who is measured: takes mail on `port` of loopback."""

    @property
    def name(self) -> str: ...

    @property
    def port(self) -> int: ...

    def cpu(self) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class Round:
    """Mails a second: accepted by the client's clock, and counted by the sink (None: not waited for). `cpu`: milliseconds of processor a mail,
    by who used them. `elsewhere`: cores that were busy with anything else meanwhile."""

    accepted: float
    relayed: float | None
    cpu: dict[str, float]
    elsewhere: float

    @property
    def told(self) -> dict[str, Any]:
        """For a row's detail."""
        return asdict(self)


class World:
    """Ready for runs."""

    def __init__(self, folder: Path, brokers: Brokers, postfix: Postfix, client: Client, sink: Sink) -> None:
        self.folder, self.brokers, self.postfix = folder, brokers, postfix
        self.client, self.sink = client, sink

    def relay(self, pool: str, **how: Any) -> Relay:
        """A relay with queues of its own."""
        return Relay(self.brokers, self.folder, pool, **how)

    async def deliver(self, side: Side, load: Load) -> Round:
        """Send the load through and wait until the sink has all of it. Raises TimeoutError when that does not come about."""
        return await self._timed(side, load, self.sink.count + load.count)

    async def accept(self, side: Side, load: Load) -> Round:
        """Send the load, wherever it goes."""
        return await self._timed(side, load, None)

    async def _timed(self, side: Side, load: Load, arrivals: int | None) -> Round:
        await asyncio.sleep(PAUSE_SECONDS)
        before, busy, clock = self._used(side), _busy(), time.time()
        began, ended = await self.client.send(side.port, load)
        arrived = await self.sink.reached(arrivals, ARRIVAL_SECONDS) if arrivals is not None else None
        spent = time.time() - clock
        used = {name: value - before[name] for name, value in self._used(side).items()}
        return Round(
            accepted=round(load.count / (ended - began), 1),
            relayed=None if arrived is None else round(load.count / (arrived - began), 1),
            cpu={name: round(value / load.count * 1000, 4) for name, value in used.items()},
            elsewhere=round((_busy() - busy - sum(used.values())) / spent, 2),
        )

    def _used(self, side: Side) -> dict[str, float]:
        return {"client": self.client.cpu, "sink": self.sink.cpu, "brokers": self.brokers.cpu()} | side.cpu()


@asynccontextmanager
async def world(folder: Path, longest: float) -> AsyncIterator[World]:
    """All but the relays. `longest`: seconds after which the brokers are removed whatever happens."""
    free_space(folder)
    folder.chmod(0o777)  # the sink's container has a user of its own
    brokers = Brokers()
    with ExitStack() as stack:
        stack.enter_context(cleared())
        stack.callback(brokers.stop)
        stack.enter_context(brokers.started(longest))
        await brokers.set_up()
        postfix, client, sink = Postfix(), Client(), Sink(folder)
        await postfix.ready()
        yield World(folder, brokers, postfix, client, sink)


def disk() -> str:
    """On which disk the engine keeps volumes: the brokers' mail, and Postfix's queue."""
    root = run("docker", "info", "-f", "{{.DockerRootDir}}").strip()
    kind, device = run("df", "--output=fstype,source", root).splitlines()[1].split()
    return f"{kind} on {device}"


def _busy() -> float:
    """Seconds of all cores that were not idle since the machine came up."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + rest[0] + rest[1]) / os.sysconf("SC_CLK_TCK")
