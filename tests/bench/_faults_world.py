"""Everything that the fault bench runs, started and ended together: brokers, relays, the receiving server, the client."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.bench._faults_brokers import CLIENT, FaultBrokers
from tests.bench._faults_disks import Disk
from tests.bench._faults_relays import SMTP_PORT, Relay, free_space
from tests.relay.broker.cluster import BROKERS
from tests.sink.client import Line, SinkClient
from tests.testbed.shell import TestbedError, run

READY_SECONDS = 60.0
LATE = (0.2, 2.0)
"""Seconds after which the sink answers to half of the RCPTs and to all final dots."""
REFUSED = 0.3
"""Of all recipients, each time they are tried: their mail is copied to a queue where it waits, and is dead-lettered from there."""
SINK_HTTP = 2526


class World:
    """`run` is what this run's mail ids begin with."""

    def __init__(self, brokers: FaultBrokers, folder: Path, seed: int) -> None:
        self.brokers, self.folder = brokers, folder
        self.run = secrets.token_hex(3)
        self.relays = [Relay(number, brokers.prefix, brokers.bridge, folder) for number in range(1, 4)]
        self.sink = SinkClient(f"http://{brokers.gateway}:{SINK_HTTP}")
        self.ledger = folder / "ledger.jsonl"
        self.deeds: list[Line] = []
        self._seed = seed

    @property
    def domain(self) -> str:
        """All mail goes to this machine, and what bounces comes there as well."""
        return f"[{self.brokers.gateway}]"

    async def script_sink(self) -> None:
        """Recipients that are to come back later; and late answers: half of the mails are stored before theirs, so that who is cut off meanwhile has delivered, and half after it."""
        late = list(LATE)
        await self.sink.put_rules(
            {"stage": "rcpt", "share": REFUSED, "seed": self._seed + 2, "code": 451, "text": "4.7.1 greylisted"},
            {"stage": "rcpt", "share": 0.5, "seed": self._seed, "delay": late},
            {"stage": "rcpt"},
            {"stage": "dot", "share": 0.5, "seed": self._seed + 1, "delay": late, "early": True},
            {"stage": "dot", "delay": late},
        )

    async def read_deeds(self) -> None:
        """Take what the sink has noted since the last time: it does not keep it for ever."""
        since = self.deeds[-1]["n"] + 1 if self.deeds else 0
        self.deeds += await self.sink.deeds(since)

    async def relays_ready(self, seconds: float = READY_SECONDS) -> bool:
        """Wait until all relays have their queue."""
        deadline = time.monotonic() + seconds
        while not all(await asyncio.gather(*(each.ready() for each in self.relays))):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.3)
        return True

    async def in_hand(self) -> dict[str, float]:
        """Records under way, by relay, as each says itself; who does not answer is left out."""
        found = await asyncio.gather(*(each.metrics() for each in self.relays))
        return {
            relay.helo: metrics["in_hand"]
            for relay, metrics in zip(self.relays, found, strict=True)
            if "in_hand" in metrics
        }

    @contextmanager
    def client(self, rate: float) -> Iterator[subprocess.Popen[bytes]]:
        """The client at work."""
        targets = [f"--target={each.target}" for each in self.relays]
        words = ["--run", self.run, "--rate", str(rate), "--domain", self.domain, "--ledger", str(self.ledger)]
        with (self.folder / "client.json").open("wb") as output:
            process = _process("tests.bench._faults_client", *targets, *words, output=output)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()

    def client_said(self) -> dict[str, Any]:
        """What the client told at its end."""
        said: dict[str, Any] = json.loads((self.folder / "client.json").read_text() or "{}")
        return said


@asynccontextmanager
async def world(folder: Path, seed: int, longest: float) -> AsyncIterator[World]:
    """All but the client, ready. `longest`: seconds after which the brokers are removed whatever happens."""
    disks = [Disk(folder, number) for number in BROKERS]
    for each in disks:
        each.remove()  # of a run with the same seed that was killed
    free_space(folder)
    brokers = FaultBrokers(disks=disks)
    with ExitStack() as stack:
        stack.callback(brokers.stop)
        stack.enter_context(brokers.started(longest))
        stack.callback(_keep_logs, brokers, folder)
        await brokers.set_up()
        made = World(brokers, folder, seed)
        stack.enter_context(_sink(made))
        await _until_sink(made)
        await made.script_sink()
        for relay in made.relays:
            stack.callback(relay.remove)
            relay.prepare(brokers.as_told_to_relays(), CLIENT, brokers.admin["ca.crt"], brokers.gateway)
            relay.start()
        if not await made.relays_ready():
            raise RuntimeError(f"the relays do not come up: see {folder}")
        yield made


@contextmanager
def _sink(made: World) -> Iterator[None]:
    words = [f"--host={made.brokers.gateway}", f"--smtp-port={SMTP_PORT}", f"--http-port={SINK_HTTP}", "--no-tls"]
    with (made.folder / "sink.log").open("wb") as output:
        process = _process("tests.sink", *words, "--spill", str(made.folder / "arrived.jsonl"), output=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


async def _until_sink(made: World) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await made.sink.stats()
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return


def _process(module: str, *words: str, output: Any) -> subprocess.Popen[bytes]:
    """A module of ours in a process that ends with this one."""
    command = ("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", module)
    return subprocess.Popen([*command, *words], stdout=output)


def _keep_logs(brokers: FaultBrokers, folder: Path) -> None:
    for number in BROKERS:
        with suppress(TestbedError):
            text = run("sh", "-c", f"docker logs {brokers.container(number)} 2>&1")
            (folder / f"broker-{number}.log").write_text(text)
