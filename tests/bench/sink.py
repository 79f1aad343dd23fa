"""How many mails a second the sink takes: it must be faster than what it judges.

The peer is Postfix's smtp-sink, the client its smtp-source: those of the machine, or of the mail client's image of the test bed. With
neither, the client is raw sockets that speak in prepared bytes, and there is no peer.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.sink.client import SinkClient
from tests.testbed.images import references
from tests.testbed.shell import succeeds

SESSIONS = 20
MESSAGES = {2048: 20_000, 51_200: 4_000}


async def run() -> list[dict[str, object]]:
    """Rows `sink.2k` and `sink.50k`, in mails a second; detail: CPU milliseconds of the sink per mail."""
    rows: list[dict[str, object]] = []
    for size, count in MESSAGES.items():
        rate, cpu, client = await _our_sink(size, count)
        peer = await _smtp_sink(size, count)
        rows.append(
            {
                "name": f"sink.{size // 1024}k",
                "value": round(rate),
                "unit": "mails/s",
                "peer": "smtp-sink" if peer else None,
                "peer_value": round(peer) if peer else None,
                "n": count,
                "detail": {"client": client, "sessions": SESSIONS, "sink_cpu_ms_per_mail": round(cpu, 4)},
            }
        )
    return rows


async def _our_sink(size: int, count: int) -> tuple[float, float, str]:
    """Mails a second, CPU milliseconds a mail, the client's name."""
    async with _running(
        sys.executable, "-m", "tests.sink", "--host=127.0.0.1", "--smtp-port=0", "--http-port=0", "--no-tls"
    ) as (
        process,
        said,
    ):
        port, control = (int(number) for number in re.findall(rb"\d+", said)[-2:])
        sink = SinkClient(f"http://127.0.0.1:{control}")
        before = _cpu_seconds(process.pid)
        client, seconds = await _send(port, size, count)
        cpu = _cpu_seconds(process.pid) - before
        arrived = (await sink.stats())["messages"]
        if arrived != count:
            raise RuntimeError(f"{count} mails were sent, the sink has {arrived}")
        return count / seconds, cpu * 1000 / count, client


async def _smtp_sink(size: int, count: int) -> float | None:
    """Mails a second, None where it is not installed."""
    command = _postfix("smtp-sink")
    if command is None:
        return None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(*command, "-4", f"127.0.0.1:{port}", "200")
    try:
        await _until_open(port)
        return count / (await _send(port, size, count))[1]
    finally:
        process.terminate()
        await process.wait()


def _postfix(program: str) -> list[str] | None:
    """How to run one of Postfix's test programs."""
    if found := shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
        return [found]
    image = references().get("mailclient", "")
    if image and succeeds("docker", "image", "inspect", image):
        return [
            "docker",
            "run",
            "--rm",
            "--init",
            "--user",
            "65532",
            "--network",
            "host",
            image,
            f"/usr/sbin/{program}",
        ]
    return None


async def _until_open(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@asynccontextmanager
async def _running(*command: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, bytes]]:
    """A program, with the first line that it prints."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process, await process.stdout.readline()
    finally:
        process.terminate()
        await process.wait()


async def _send(port: int, size: int, count: int) -> tuple[str, float]:
    """Send `count` mails of `size` bytes; the client's name and the seconds it took."""
    if command := _postfix("smtp-source"):
        options = f"-d -s {SESSIONS} -m {count} -l {size} -f a@example.com -t b@one.test 127.0.0.1:{port}"
        return "smtp-source", await _timed(
            *command[:-1], "sh", "-ec", f"date +%s.%N; {command[-1]} {options}; date +%s.%N"
        )
    began = time.monotonic()
    await asyncio.gather(*(_session(port, size, count // SESSIONS) for _ in range(SESSIONS)))
    return "raw sockets", time.monotonic() - began


async def _timed(*command: str) -> float:
    """Seconds between the two times that a command prints, so that the start of a container does not count."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said = (await process.communicate())[0].split()
    if process.returncode:
        raise RuntimeError(f"{command[-1]} ended with {process.returncode}")
    return float(said[-1]) - float(said[0])


async def _session(port: int, size: int, count: int) -> None:
    """One session with pipelined commands, in the way of a relay that knows its peer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    envelope = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@one.test>\r\nDATA\r\n"
    message = (
        b"From: a\r\nTo: b\r\nMessage-ID: <1@x>\r\nSubject: x\r\n\r\n" + (b"x" * 78 + b"\r\n") * (size // 80) + b".\r\n"
    )
    await reader.readline()
    writer.write(b"HELO client\r\n")
    await reader.readline()
    for _ in range(count):
        writer.write(envelope)
        for _ in range(3):
            await reader.readline()
        writer.write(message)
        if not (await reader.readline()).startswith(b"250"):
            raise RuntimeError("a mail was refused")
    writer.close()
    await writer.wait_closed()


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - not a file
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
