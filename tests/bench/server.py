"""What the SMTP server alone can take, with a queue that confirms at once: mails a second, and its processor time for each.

The client is `smtp-source` of Postfix where it is installed (sessions reused), otherwise the small one below. Both share the machine's
cores with the server, so mails a second say less than the processor time. No peer: aiosmtpd is not among our dependencies.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
import time
from dataclasses import dataclass

SESSIONS = 30
ROUNDS = 3
SIZES = {"2k": (2048, 20_000), "50k": (51_200, 5_000)}
STEPS = (b"MAIL FROM:<me@here.example>\r\n", b"RCPT TO:<you@there.example>\r\n", b"DATA\r\n")


@dataclass(frozen=True)
class Round:
    """One run: mails a second by the client's clock, and milliseconds of processor for each in the server."""

    rate: float
    cpu: float


async def run() -> list[dict[str, object]]:
    """Rows of the benchmark."""
    rows: list[dict[str, object]] = []
    for name, (size, count) in SIZES.items():
        rounds = [await one_round(size, count) for _ in range(ROUNDS)]
        detail = {"client": client_name(), "sessions": SESSIONS, "rounds": [[each.rate, each.cpu] for each in rounds]}
        for metric, unit, value in (
            ("accepted", "mails/s", statistics.median(each.rate for each in rounds)),
            ("cpu", "ms/mail", statistics.median(each.cpu for each in rounds)),
        ):
            rows.append(
                {
                    "name": f"server.{metric}.{name}",
                    "value": round(value, 4),
                    "unit": unit,
                    "peer": None,
                    "peer_value": None,
                    "n": count * ROUNDS,
                    "detail": detail,
                }
            )
    return rows


def client_name() -> str:
    return "smtp-source" if shutil.which("smtp-source") else "built-in"


async def one_round(size: int, count: int) -> Round:
    """A fresh server, `count` mails of `size` bytes."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench._server_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    began = time.perf_counter()
    await (smtp_source if client_name() == "smtp-source" else built_in)(port, size, count)
    seconds = time.perf_counter() - began
    output, _ = await server.communicate(b"")
    result = json.loads(output)
    assert result["accepted"] == count, result
    return Round(rate=round(count / seconds, 1), cpu=round(result["cpu"] / count * 1000, 4))


async def smtp_source(port: int, size: int, count: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *("smtp-source", "-d", "-s", str(SESSIONS), "-l", str(size), "-m", str(count)),
        *("-f", "me@here.example", "-t", "you@there.example", f"inet:127.0.0.1:{port}"),
    )
    assert await process.wait() == 0


async def built_in(port: int, size: int, count: int) -> None:
    """`SESSIONS` sessions that send their share, one command at a time."""
    line = b"x" * 70 + b"\r\n"
    head = b"From: me@here.example\r\nTo: you@there.example\r\nSubject: benchmark\r\n\r\n"
    message = head + line * ((size - len(head)) // len(line)) + b".\r\n"
    shares = [count // SESSIONS + (number < count % SESSIONS) for number in range(SESSIONS)]
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(_session(loop, port, message, share) for share in shares))


async def _session(loop: asyncio.AbstractEventLoop, port: int, message: bytes, count: int) -> None:
    done: asyncio.Future[None] = loop.create_future()
    await loop.create_connection(lambda: _Sender(message, count, done), "127.0.0.1", port)
    await done


class _Sender(asyncio.Protocol):
    """Every reply (they all fit one read) is the sign for the next step."""

    def __init__(self, message: bytes, count: int, done: asyncio.Future[None]) -> None:
        self._steps = iter([b"EHLO client.example\r\n", *((*STEPS, message) * count), b"QUIT\r\n"])
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data[:1] not in b"23":
            self._done.set_exception(AssertionError(data))
            self._transport.close()
            return
        self._transport.write(next(self._steps, b""))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)
