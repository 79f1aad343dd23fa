"""Ours: a real relay process and three real brokers, with everything on that is on in production: TLS to the brokers, journal, logs.

The brokers are configured by the operator's own files. The relay's settings are the defaults but for those that would end the client's
sessions, which it takes for a failure.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relayfleet.protocol.relay_config import (
    Broker,
    Delivery,
    Drain,
    Limits,
    Listener,
    RelayConfig,
    SigningDomain,
    SigningKey,
    Source,
    dump,
)
from relayfleet.relay.main import STATUS_PORT
from tests.bench._faults_brokers import CLIENT, FaultBrokers
from tests.bench._throughput_tools import SENDER_DOMAIN, SINK_PORT, processor_file, processor_seconds
from tests.relay.broker.cluster import BROKERS

NETWORK, PREFIX = "relayfleet-throughput", "198.19.203"
PORT = 2526
QUOTA_BYTES = 16 * 1024**3
"""Above what the bench ever leaves in the queue."""
READY_SECONDS, LEAVE_SECONDS = 60.0, 60.0
TO_SINK = Delivery(port=SINK_PORT)
SESSIONS_OUT = TO_SINK.sessions_per_destination
DKIM = (SigningDomain(SENDER_DOMAIN, (SigningKey("bench", "bench", "private.pem"),)),)
_SAMPLE = re.compile(rb"^(\w+)(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


class Brokers(FaultBrokers):
    """Numbers 0 to 2, on a network of this bench."""

    def __init__(self) -> None:
        super().__init__(NETWORK, PREFIX)

    def cpu(self) -> float:
        """Seconds of processor that all three have used."""
        return sum(processor_seconds(processor_file(self.container(each))) for each in BROKERS)


class Relay:
    """One relay process; `pool` names its queues. `delivery`: where its mail goes, and how."""

    name, port = "relayfleet", PORT

    def __init__(
        self,
        brokers: Brokers,
        folder: Path,
        pool: str,
        *,
        dkim: bool = False,
        delivery: Delivery = TO_SINK,
    ) -> None:
        self._brokers = brokers
        self._folder = folder / pool
        broker = dataclasses.replace(brokers.as_told_to_relays(), queue_prefix=pool, quota_bytes=QUOTA_BYTES)
        texts = {f"broker/{name}": text for name, text in CLIENT.items()}
        texts["broker/ca.crt"] = brokers.admin["ca.crt"]
        texts["relay/relay.json"] = dump(_config(broker, delivery, dkim))
        texts["dkim/bench/private.pem"] = _key()
        for place, text in texts.items():
            path = self._folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    @contextmanager
    def running(self) -> Iterator[Relay]:
        """As a process, which leaves in the end as it would by a rollout."""
        command = ("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.bench._faults_relay_process")
        with (self._folder / "stderr.log").open("wb") as errors:
            self._process = subprocess.Popen([*command, str(self._folder)], stderr=errors)
        try:
            yield self
        finally:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def cpu(self) -> dict[str, float]:
        """Seconds of processor so far, by who used them."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return {"relay": used, "brokers": self._brokers.cpu()}

    def metrics(self) -> dict[str, float]:
        """Sums over labels; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{STATUS_PORT}/metrics", timeout=2) as answer:
                samples = _SAMPLE.findall(answer.read())
        except OSError:
            return {}
        sums: dict[str, float] = {}
        for name, value in samples:
            key = name.decode().removeprefix("relayfleet_relay_")
            sums[key] = sums.get(key, 0.0) + float(value)
        return sums

    async def ready(self, *more: str) -> None:
        """Wait until it has its queue, and these metrics are 1 too. Raises RuntimeError."""
        for _ in range(int(READY_SECONDS / 0.2)):
            found = await asyncio.to_thread(self.metrics)
            if all(found.get(each) == 1.0 for each in ("queue_ready", *more)):
                return
            if self._process.poll() is not None:
                break
            await asyncio.sleep(0.2)
        raise RuntimeError(f"the relay does not come up: see {self._folder}")


def _config(broker: Broker, delivery: Delivery, dkim: bool) -> RelayConfig:
    return RelayConfig(
        pool="throughput/throughput",
        region="eu",
        broker=broker,
        listeners=(Listener("smtp", (PORT,), "None"),),
        sources=(Source("bench", "127.0.0.1", "relay.bench.example"),),
        allowed_networks=("127.0.0.0/8",),
        limits=Limits(session_messages=10**9, session_seconds=1e9),
        delivery=delivery,
        drain=Drain(unlist=0.0, grace=5.0),
        dkim=DKIM if dkim else (),
    )


def _key() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
