"""How long new mail takes, from the moment at which the client means to send it to the final dot at the sink. It comes at a pace that is far from the
relay's limit, or what is measured would be the client's queue; and a client that is held up does not send less, so its waiting counts.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench._throughput_plan import BURST_SECONDS
from tests.bench._throughput_tools import RECIPIENT, SENDER_DOMAIN, SINK
from tests.sink.client import SinkClient

LATENCY_PORT = 2531
RATE, SESSIONS = 100, 4
ARRIVAL_SECONDS = 30.0
"""For which the last mails are waited for."""
TEXT = (b"x" * 78 + b"\r\n") * 24

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds. Of `mails` so many are `missing`: they count as having waited until they were given up, so that p99 is more
    than it says when they are more than one in a hundred. `bursts`: p99 of each, in order."""

    p50: float
    p99: float
    longest: float
    mails: int
    missing: int
    bursts: tuple[float, ...]


async def measure(
    port: int, sink: SinkClient, run: str, recipients: Sequence[str] = (RECIPIENT,), bursts: int = 1
) -> Latency:
    """Send new mail to these in turn, at a steady pace, so many bursts one after the other; `run` begins its ids."""
    sent = [await _burst(port, f"{run}-{number}", recipients) for number in range(bursts)]
    ids = {each for burst in sent for each in burst}
    with suppress(TimeoutError):
        await sink.wait_for(len(ids), ARRIVAL_SECONDS, lambda each: each["test_id"] in ids)
    given_up, came = time.time(), dict[str, float]()
    for each in await sink.messages():
        came.setdefault(each["test_id"], each["time"])
    return summary(sent, came, given_up)


def summary(bursts: Sequence[Mapping[str, float]], came: Mapping[str, float], given_up: float) -> Latency:
    """Of the mails of each burst, by id when they were to be sent, and all that came. Unix seconds. Pure."""
    waits = [[(came.get(name, given_up) - sent) * 1000 for name, sent in burst.items()] for burst in bursts]
    every = list(itertools.chain.from_iterable(waits))
    return Latency(
        p50=round(statistics.median(every), 2),
        p99=_p99(every),
        longest=round(max(every), 2),
        mails=len(every),
        missing=sum(name not in came for burst in bursts for name in burst),
        bursts=tuple(map(_p99, waits)),
    )


def complete(found: Latency) -> Latency:
    """The same. Raises TimeoutError when some mail has not come."""
    if found.missing:
        raise TimeoutError(f"{found.missing} of {found.mails} mails have not come in {ARRIVAL_SECONDS:.0f} s")
    return found


def row(name: str, peer: str, loaded: Latency, without: Latency, detail: Mapping[str, Any]) -> Row:
    """`peer` is the same relay without what it was loaded with."""
    return {
        "name": f"throughput.latency.{name}.p99",
        "value": loaded.p99,
        "unit": "ms",
        "peer": peer,
        "peer_value": without.p99,
        "n": loaded.mails,
        "detail": {
            **detail,
            "ratio": round(loaded.p99 / without.p99, 2),
            "with": asdict(loaded),
            "without": asdict(without),
        },
    }


@asynccontextmanager
async def timing_sink(address: str = SINK) -> AsyncIterator[SinkClient]:
    """The project's own sink, which remembers when each mail came. All that it has to be told goes over the client."""
    words = (f"--host={address}", f"--smtp-port={LATENCY_PORT}", "--http-port=0", "--no-tls")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.sink", *words, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        said = await process.stdout.readline()
        yield SinkClient(f"http://{address}:{int(re.findall(rb'[0-9]+', said)[-1])}")
    finally:
        process.terminate()
        await process.wait()


def _p99(waits: Sequence[float]) -> float:
    return round(statistics.quantiles(waits, n=100)[98], 2)


async def _burst(port: int, run: str, recipients: Sequence[str]) -> dict[str, float]:
    sent: dict[str, float] = {}
    began = time.time() + 0.1
    sessions = (
        _session(port, began + each / RATE, f"{run}-{each}", _from(each, recipients), sent) for each in range(SESSIONS)
    )
    await asyncio.gather(*sessions)
    return sent


def _from(place: int, recipients: Sequence[str]) -> Sequence[str]:
    """So that sessions do not all send to the same one at a time."""
    place %= len(recipients)
    return [*recipients[place:], *recipients[:place]]


async def _session(port: int, began: float, run: str, recipients: Sequence[str], sent: dict[str, float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    await _say(reader, writer, "HELO client.bench.example")
    for number, recipient in zip(range(RATE * BURST_SECONDS // SESSIONS), itertools.cycle(recipients), strict=False):
        meant = began + number * SESSIONS / RATE
        await asyncio.sleep(max(meant - time.time(), 0))
        for command in (f"MAIL FROM:<from@{SENDER_DOMAIN}>", f"RCPT TO:<{recipient}>", "DATA"):
            await _say(reader, writer, command)
        name = f"{run}-{number}"
        writer.write(f"From: <from@{SENDER_DOMAIN}>\r\nX-Test-Id: {name}\r\n\r\n".encode() + TEXT + b".\r\n")
        sent[name] = meant
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
