"""The relays of the fault bench: each a real process in a network namespace of its own, on the brokers' bridge, with its folders as in a pod.

So a relay has an address and a HELO name of its own, by which the sink knows it, and its packets can be dropped without touching others.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp

from relayfleet.protocol.relay_config import Broker, Delivery, Drain, Limits, Listener, RelayConfig, Retry, Source, dump
from relayfleet.relay.main import STATUS_PORT
from tests.testbed.shell import TestbedError, run

SMTP_PORT = 2525
SESSIONS = 200
"""To the sink, for each relay: as many as it has records in hand, so that what waits is soon done when a fault is over."""
RETRY_SECONDS = 13.0
"""Every wait, so that with its jitter of 15 % it is the shortest that there is: the rung of 15 seconds."""
_GAUGE = re.compile(r"^(relayfleet_relay_\w+) ([0-9.e+]+)$", re.MULTILINE)


class Relay:
    """Number 1 to 3. `dead` while nobody has started it (again), `crashes` counts exits that the bench did not cause."""

    def __init__(self, number: int, prefix: str, bridge: str, folder: Path) -> None:
        self.number = number
        self.name = f"relay-{number}"
        self.helo = f"{self.name}.faults.test"
        self.address = f"{prefix}.{20 + number}"
        self.namespace = f"relayfleet-faults-{number}"
        self.folder = folder / self.name
        self.crashes = 0
        self._prefix, self._bridge = prefix, bridge
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> str:
        """Where clients find it."""
        return f"{self.address}:{SMTP_PORT}"

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """What it said in all its lives; each line begins with Unix seconds."""
        return self.folder / "relay.log"

    def prepare(self, broker: Broker, client: Mapping[str, str], authority: str, domain_address: str) -> None:
        """Namespace and files."""
        self._attach()
        texts = {
            "broker/username": client["username"],
            "broker/password": client["password"],
            "broker/ca.crt": authority,
        }
        texts["relay/relay.json"] = dump(self._config(broker, domain_address))
        for place, text in texts.items():
            path = self.folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def start(self) -> None:
        """Start it (again). It ends with the bench, even when that is killed."""
        # Not `ip netns exec`: that gives it mounts of its own, which would keep a broker's disk alive after its power was lost.
        inside = ("nsenter", f"--net=/run/netns/{self.namespace}")
        command = (*inside, "setpriv", "--pdeathsig", "KILL", sys.executable)
        with (self.folder / "stderr.log").open("ab") as errors:
            self._process = subprocess.Popen(
                [*command, "-m", "tests.bench._faults_relay_process", str(self.folder)],
                env={**os.environ, "RELAYFLEET_RELAY_NAME": self.name},
                stderr=errors,
            )

    def signal(self, number: signal.Signals) -> None:
        """To the process, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """For its end; after `seconds` it is killed."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def revive(self) -> bool:
        """Start it when it ended by itself, which no relay should; True then."""
        if self._process is None or self._process.poll() is None:
            return False
        self.crashes += 1
        self.start()
        return True

    def remove(self) -> None:
        """Process and namespace; files stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        with suppress(TestbedError):
            run("ip", "netns", "del", self.namespace)

    async def metrics(self) -> dict[str, float]:
        """Gauges and counters without labels; empty when it does not answer."""
        try:
            text = await self._get("/metrics")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return {}
        return {name.removeprefix("relayfleet_relay_"): float(value) for name, value in _GAUGE.findall(text)}

    async def ready(self) -> bool:
        """Whether it can take mail and its queue is there."""
        return (await self.metrics()).get("queue_ready") == 1.0

    async def _get(self, path: str) -> str:
        timeout = aiohttp.ClientTimeout(total=1.0)
        url = f"http://{self.address}:{STATUS_PORT}{path}"
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as answer:
            return await answer.text()

    def _attach(self) -> None:
        """A cable from the bridge into a new namespace."""
        with suppress(TestbedError):
            run("ip", "netns", "del", self.namespace)
        inside, outside = f"rff{self.number}i", f"rff{self.number}o"
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", self.namespace)
        run("ip", "link", "set", outside, "master", self._bridge, "up")
        run("ip", "-n", self.namespace, "address", "add", f"{self.address}/24", "dev", inside)
        for device in ("lo", inside):
            run("ip", "-n", self.namespace, "link", "set", device, "up")

    def _config(self, broker: Broker, domain_address: str) -> RelayConfig:
        return RelayConfig(
            pool="faults/faults",
            region="eu",
            broker=broker,
            listeners=(Listener("smtp", (SMTP_PORT,), "None"),),
            sources=(Source(self.name, self.address, self.helo),),
            allowed_networks=(f"{domain_address}/32",),
            limits=Limits(sessions_per_address=500),
            delivery=Delivery(port=SMTP_PORT, sessions_per_destination=SESSIONS, resolvers=(domain_address,)),
            retry=Retry(first=RETRY_SECONDS, factor_percent=100, longest=RETRY_SECONDS),
            drain=Drain(unlist=1.0, grace=10.0),
        )


def free_space(folder: Path) -> None:
    """An empty folder for this run."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
