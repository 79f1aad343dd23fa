"""One fleet of one size with all that it needs: API server, simulated relays, objects, a watch on the slices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from relayfleet.children.relay import names
from tests.bench import _scale_net
from tests.bench._apiserver import ApiServer, api_server
from tests.bench._cordon_watch import Seen, watching
from tests.bench._scale_fleet import BROKER, NAMESPACE, Fleet
from tests.bench._scale_operator import operator
from tests.bench._scale_say import Say
from tests.e2e.api import Api
from tests.testbed.binaries import KUBERNETES
from tests.testbed.settings import ROOT
from tests.testbed.shell import run

OPERATOR = "operator"
"""The operator's name for the API server."""
LOOK = 3.0
"""Seconds between two looks at what was written: longer than two renewals of the lease are apart."""


class Relays:
    """The process of the simulated relays."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def order(self, word: str, address: str) -> float:
        """`down` or `up`; returns when (monotonic)."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{word} {address}\n".encode())
        async with asyncio.timeout(10.0):
            return float(await self._process.stdout.readline())


@dataclass(frozen=True, slots=True)
class World:
    """`logs`: where processes leave theirs."""

    server: ApiServer
    api: Api
    fleet: Fleet
    relays: Relays
    seen: Seen
    logs: Path

    def ready(self) -> int:
        """How many relays are listed as ready."""
        return sum(len(self.seen.ready(pool)) for pool in self.fleet.pools)

    def writes(self, since: int = 0) -> Counter[str]:
        """The operator's writes, as `verb resource`, from a place in the audit log on."""
        with self.server.audit.open("rb") as log:
            log.seek(since)
            entries = [json.loads(line) for line in log if line.endswith(b"\n")]
        ours = (each for each in entries if each["user"]["username"] == OPERATOR)
        return Counter(f"{each['verb']} {each['objectRef']['resource']}" for each in ours)

    def so_far(self) -> int:
        """The end of the audit log."""
        return self.server.audit.stat().st_size

    @property
    def kubeconfig(self) -> Path:
        """The operator's."""
        return self.server.kubeconfig(OPERATOR)


@asynccontextmanager
async def world(size: int, folder: Path, logs: Path, say: Say) -> AsyncIterator[World]:
    """With all pods there and running, and no relay listed yet."""
    say("starts etcd and an API server")
    async with (
        api_server(folder, _scale_net.API) as server,
        Api(server.access("bench")) as api,
    ):
        await asyncio.to_thread(_kinds, server.kubeconfig("kubectl"))
        fleet = Fleet(api, size)
        say(f"states {len(fleet.pools)} pools, and has an operator make their children")
        await fleet.state()
        async with operator(api, server.kubeconfig(OPERATOR), logs):
            await fleet.deploy(folder)
        async with _relays(fleet, folder) as relays:
            say(f"makes a pod for each of {size} relays")
            await fleet.fill()
            async with watching(server.access("watch"), NAMESPACE) as seen:
                yield World(server, api, fleet, relays, seen, logs)


async def calm(world: World, quiet: float, longest: float) -> float | None:
    """Wait until the operator has written nothing but its lease for a while (seconds); returns the seconds until its last write, None: not in
    the longest time."""
    began = last = time.monotonic()
    place = world.so_far()
    while time.monotonic() - last < quiet:
        if time.monotonic() - began > longest:
            return None
        await asyncio.sleep(LOOK)
        before, place = place, world.so_far()
        writes = world.writes(before)
        if writes.keys() != {"update leases"}:  # an operator that cannot keep its lease writes nothing at all
            last = time.monotonic()
    return last - began


@asynccontextmanager
async def _relays(fleet: Fleet, folder: Path) -> AsyncIterator[Relays]:
    addresses = fleet.addresses()
    words = (str(names.listener_port(0, 0)), addresses[0], addresses[-1], BROKER, str(folder))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench._scale_relays", *words,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout
        if not await process.stdout.readline():
            raise RuntimeError("the simulated relays did not start")
        yield Relays(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


def _kinds(kubeconfig: Path) -> None:
    kubectl = (KUBERNETES.path("kubectl"), "--kubeconfig", kubeconfig)
    run(*kubectl, "apply", "--server-side", "-f", ROOT / "crds")
    run(*kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
