"""How long new mail takes from the client's final dot to that of the sink, while many records wait for their next attempt.

The waiting ones are put straight into the longest rung of the pool's own ladder: they stay there for the whole run, as the mail of a
provider that is down does. New mail comes at a pace that is far from the relay's limit, or what is measured would be the client's queue.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from relayfleet.amqp.publishing import PublishChannel
from relayfleet.relay.spool.rabbitmq.topology import LADDER, LANES, Topology
from relayfleet.relay.spool.record import Recipient, Record, encode, new_id
from tests.bench._faults_brokers import CLIENT
from tests.bench._throughput_relay import Brokers
from tests.bench._throughput_tools import RECIPIENT, SENDER_DOMAIN, SINK
from tests.sink.client import SinkClient

LATENCY_PORT = 2531
RATE, SECONDS, SESSIONS = 100, 20, 4
IN_FLIGHT = 300
TEXT = (b"x" * 78 + b"\r\n") * 24
ENVELOPE = (f"MAIL FROM:<from@{SENDER_DOMAIN}>", f"RCPT TO:<{RECIPIENT}>", "DATA")


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from dot to dot."""

    p50: float
    p99: float
    longest: float
    mails: int


async def fill(brokers: Brokers, pool: str, count: int) -> float:
    """Let `count` records of 2 KiB wait in the pool's queues; seconds that took."""
    began = time.monotonic()
    topology = Topology(pool, len(brokers.as_told_to_relays().addresses))
    numbers = iter(range(count))
    await asyncio.gather(*(_fill_lane(brokers, topology.wait(LADDER[-1], lane), numbers) for lane in LANES))
    return time.monotonic() - began


async def measure(port: int, sink: SinkClient, run: str) -> Latency:
    """Send new mail at a steady pace; `run` begins its ids. Raises TimeoutError when some of it does not come."""
    sent: dict[str, float] = {}
    began = time.monotonic() + 0.1
    await asyncio.gather(*(_session(port, began, f"{run}-{each}", sent) for each in range(SESSIONS)))
    arrived = await sink.wait_for(len(sent), 30.0, lambda each: each["test_id"] in sent)
    waits = sorted((each["time"] - sent[each["test_id"]]) * 1000 for each in arrived)
    return Latency(
        p50=round(statistics.median(waits), 2),
        p99=round(statistics.quantiles(waits, n=100)[98], 2),
        longest=round(waits[-1], 2),
        mails=len(waits),
    )


@asynccontextmanager
async def timing_sink() -> AsyncIterator[SinkClient]:
    """The project's own sink, which remembers when each mail came."""
    words = (f"--host={SINK}", f"--smtp-port={LATENCY_PORT}", "--http-port=0", "--no-tls")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sink", *words, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        said = await process.stdout.readline()
        yield SinkClient(f"http://{SINK}:{int(re.findall(rb'[0-9]+', said)[-1])}")
    finally:
        process.terminate()
        await process.wait()


async def _fill_lane(brokers: Brokers, queue: str, numbers: Iterator[int]) -> None:
    connection = await brokers.log_in(CLIENT["username"], CLIENT["password"])
    try:
        channel = await PublishChannel.open(connection, 5.0)

        async def put() -> None:
            for _ in numbers:
                record = Record(
                    new_id(), f"from@{SENDER_DOMAIN}", (Recipient(RECIPIENT),), TEXT, time.time(), attempt=9
                )
                await channel.publish(queue, encode(record), record.key).stored

        await asyncio.gather(*(put() for _ in range(IN_FLIGHT)))
    finally:
        await connection.close()


async def _session(port: int, began: float, run: str, sent: dict[str, float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    await _say(reader, writer, "HELO client.bench.example")
    for number in range(RATE * SECONDS // SESSIONS):
        await asyncio.sleep(max(began + number * SESSIONS / RATE - time.monotonic(), 0))
        for command in ENVELOPE:
            await _say(reader, writer, command)
        name = f"{run}-{number}"
        writer.write(f"From: <from@{SENDER_DOMAIN}>\r\nX-Test-Id: {name}\r\n\r\n".encode() + TEXT + b".\r\n")
        sent[name] = time.time()
        await _positive(reader)
    writer.close()
    await writer.wait_closed()


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: str) -> None:
    writer.write(f"{command}\r\n".encode())
    await _positive(reader)


async def _positive(reader: asyncio.StreamReader) -> None:
    reply = await reader.readline()
    if reply[:1] not in (b"2", b"3"):
        raise RuntimeError(f"the relay said {reply!r}")
