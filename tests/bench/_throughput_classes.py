"""How long mail of a Transactional pool takes beside a flood of another pool on the same brokers: undeclared, and from a Bulk pool.

Two relay processes, each with queues of its own, and a flood over many sessions, each as fast as it is answered; what is put off counts, and the session goes
on. As a program this runs one of the two: they cannot both have the usual ports.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import uvloop

from relayfleet.protocol.relay_config import Listener, dump, load
from relayfleet.relay.files import Files
from relayfleet.relay.main import STATUS_PORT, Relay
from tests.bench import _throughput_deferred as latency
from tests.bench import _throughput_relay as usual
from tests.bench._throughput_tools import RECIPIENT, SENDER_DOMAIN, SINK_PORT
from tests.bench._throughput_world import World

FLOOD_PORT, FLOOD_STATUS, FLOOD_CONTROL = 2527, 9740, 9742
FLOOD_SESSIONS = 100
"""As many as one address may have: more than a window has places."""
WARM_UP_SECONDS = 5.0
"""Of flood, before anything is timed."""
TEXT = (b"x" * 78 + b"\r\n") * 24
Row = dict[str, Any]


@dataclass
class Count:
    """Of the flood."""

    accepted: int = 0
    put_off: int = 0


class SharingRelay(usual.Relay):
    """One relay process among others. Mail to any domain goes to `sink_port`."""

    def __init__(
        self, made: World, pool: str, sink_port: int, ports: tuple[int, int, int], *, bulk: bool = False
    ) -> None:
        super().__init__(made.brokers, made.folder, pool)
        self.port, self._status, self._control = ports
        file = self._folder / "relay" / "relay.json"
        stated = load(file.read_text())
        listeners = (Listener("smtp", (self.port,), "None"),)
        delivery = replace(stated.delivery, port=sink_port)
        file.write_text(dump(replace(stated, listeners=listeners, delivery=delivery, bulk=bulk)))

    @contextmanager
    def running(self) -> Iterator[SharingRelay]:
        """As a process, which leaves in the end as it would by a rollout."""
        words = (str(self._folder), str(self._status), str(self._control))
        command = ("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.bench._throughput_classes", *words)
        with (self._folder / "stderr.log").open("wb") as errors:
            self._process = subprocess.Popen(command, stderr=errors)
        try:
            yield self
        finally:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(usual.LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def metrics(self) -> dict[str, float]:
        """Sums over labels; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._status}/metrics", timeout=2) as answer:
                samples = usual._SAMPLE.findall(answer.read())
        except OSError:
            return {}
        sums: dict[str, float] = {}
        for name, value in samples:
            key = name.decode().removeprefix("relayfleet_relay_")
            sums[key] = sums.get(key, 0.0) + float(value)
        return sums


async def beside_bulk(made: World) -> list[Row]:
    """One row. The peer is the same flood from a pool that says nothing of its class."""
    async with latency.timing_sink() as sink:
        beside = SharingRelay(made, "beside", latency.LATENCY_PORT, (usual.PORT, STATUS_PORT, FLOOD_CONTROL + 1))
        with beside.running() as relay:
            await relay.ready()
            await latency.measure(relay.port, sink, "warm-up")
            alone = await latency.measure(relay.port, sink, "alone")
            found = {}
            for name, bulk in (("undeclared", False), ("bulk", True)):
                async with _flood(made, name, bulk=bulk) as told:
                    found[name] = await latency.measure(relay.port, sink, name), dict(told())
    loaded, undeclared = found["bulk"][0], found["undeclared"][0]
    row = {
        "name": "throughput.latency.beside-bulk.p99",
        "value": loaded.p99,
        "unit": "ms",
        "peer": "beside the same flood, undeclared",
        "peer_value": undeclared.p99,
        "n": loaded.mails,
        "detail": {
            "alone": asdict(alone),
            "sessions": FLOOD_SESSIONS,
            **{name: asdict(seen) | {"flood": flood} for name, (seen, flood) in found.items()},
        },
    }
    return [row]


@asynccontextmanager
async def _flood(made: World, name: str, *, bulk: bool) -> AsyncIterator[Any]:
    """While it lasts; gives what tells of it so far, since it was warm."""
    relay = SharingRelay(made, f"flood-{name}", SINK_PORT, (FLOOD_PORT, FLOOD_STATUS, FLOOD_CONTROL), bulk=bulk)
    with relay.running():
        await relay.ready()
        count, loop = Count(), asyncio.get_running_loop()
        tasks = [asyncio.create_task(_session(relay.port, count)) for _ in range(FLOOD_SESSIONS)]
        try:
            await asyncio.sleep(WARM_UP_SECONDS)
            before, began = replace(count), loop.time()

            def told() -> dict[str, float]:
                seconds = loop.time() - began
                taken = (count.accepted - before.accepted) / seconds
                put_off = (count.put_off - before.put_off) / seconds
                window = relay.metrics().get("bulk_window", 0.0)
                return {"accepted_a_second": round(taken, 1), "put_off_a_second": round(put_off, 1), "window": window}

            yield told
            for each in tasks:
                if each.done():
                    each.result()
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _session(port: int, count: Count) -> None:
    """Until it is cancelled. Raises RuntimeError for an answer that is neither 250 nor 451 to a mail."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reader.readline()
        await _said(reader, writer, b"HELO flood.bench.example\r\n")
        envelope = (f"MAIL FROM:<from@{SENDER_DOMAIN}>\r\n", f"RCPT TO:<{RECIPIENT}>\r\n", "DATA\r\n")
        while True:
            for each in envelope:
                await _said(reader, writer, each.encode())
            writer.write(b"From: <from@" + SENDER_DOMAIN.encode() + b">\r\n\r\n" + TEXT + b".\r\n")
            reply = await reader.readline()
            if not reply.startswith((b"250", b"451")):
                raise RuntimeError(f"the relay said {reply!r}")
            count.accepted += reply.startswith(b"250")
            count.put_off += reply.startswith(b"451")
    finally:
        writer.close()


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, words: bytes) -> None:
    writer.write(words)
    reply = await reader.readline()
    if reply[:1] not in (b"2", b"3"):
        raise RuntimeError(f"the relay said {reply!r}")


def _run(folder: Path, status: int, control: int) -> int:
    files = Files(folder)
    relay = Relay(load(files.config.read_text()), files, "relay")
    return uvloop.run(relay.run(status, control))


if __name__ == "__main__":
    root = Path(sys.argv[1])
    logging.basicConfig(
        level="INFO", format="%(created).6f %(levelname)s %(name)s %(message)s", filename=root / "relay.log"
    )
    sys.exit(_run(root, int(sys.argv[2]), int(sys.argv[3])))
