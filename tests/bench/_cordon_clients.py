"""Clients of the relays: run in the network of a client pod, told on stdin how many mails and connections a second to try.

Commands, one JSON object a line: `{"mail": 50, "trace": 50, "peer": 50}` (attempts a second; what is not named stands still).
Lines: `M` (a mail in a connection of its own), `T` (connects only) or `P` (connects only, to the peer's Service), time of start, time of
end, own port, result; and `quiet` when no attempt is open after all rates became zero. Times are CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

PATIENCE = 2.0
"""Seconds for a whole mail, or for one connect."""
BODY = b"From: <bench@example.test>\r\nTo: <r@example.test>\r\nSubject: cordon\r\n\r\n" + b"x" * 500 + b"\r\n.\r\n"
DIALOGUE = (
    (b"", 220),
    (b"EHLO client.example.test\r\n", 250),
    (b"MAIL FROM:<bench@example.test>\r\n", 250),
    (b"RCPT TO:<r@example.test>\r\n", 250),
    (b"DATA\r\n", 354),
    (BODY, 250),
    (b"QUIT\r\n", 221),
)


PORTS = itertools.cycle(range(10_000, 60_000))
"""Own ports, each again after minutes only: a node remembers for that long where it sent a connection that nobody answered, and a SYN from the same port goes
there whatever kube-proxy says."""


class Refused(Exception):  # noqa: N818 - an answer, not a mistake
    """The server answered something else than a client hopes for."""


async def mail(own: socket.socket) -> None:
    """One mail in one connection."""
    reader, writer = await asyncio.open_connection(sock=own)
    try:
        for command, wanted in DIALOGUE:
            writer.write(command)
            line = await reader.readline()
            while line[3:4] == b"-":
                line = await reader.readline()
            if line[:3] != str(wanted).encode():
                raise Refused(line[:3].decode(errors="replace") or "closed")
    finally:
        writer.transport.abort()


async def touch(own: socket.socket) -> None:
    """One connection without a word."""
    own.close()


def _bound(own: socket.socket) -> int:
    """To the next port that is free."""
    for port in PORTS:
        with suppress(OSError):
            own.bind(("", port))
            return port
    raise AssertionError("ports never end")


class Steady:
    """Attempts at a fixed rate, whatever becomes of those before."""

    def __init__(self, letter: str, attempt: Callable[[socket.socket], Awaitable[None]], target: str) -> None:
        host, _, port = target.rpartition(":")
        self._letter, self._attempt, self._target = letter, attempt, (host, int(port))
        self.rate = 0.0
        self.open: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        due = time.monotonic()
        while True:
            if not self.rate:
                await asyncio.sleep(0.02)
                due = time.monotonic()
                continue
            task = asyncio.create_task(self._one())
            self.open.add(task)
            task.add_done_callback(self.open.discard)
            due = max(due + 1 / self.rate, time.monotonic() - 0.1)
            await asyncio.sleep(due - time.monotonic())

    async def _one(self) -> None:
        own = socket.socket()
        own.setblocking(False)
        port = _bound(own)
        start, result = time.monotonic(), "ok"
        try:
            async with asyncio.timeout(PATIENCE):
                await self._connected(own)
                await self._attempt(own)
        except TimeoutError:
            result = "timeout"
        except Refused as error:
            result = str(error)
        except OSError as error:
            result = type(error).__name__
        print(f"{self._letter} {start:.6f} {time.monotonic():.6f} {port} {result}", flush=True)

    async def _connected(self, own: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().sock_connect(own, self._target)
        except BaseException:
            own.close()
            raise


async def main() -> None:
    """Arguments: host:port of our Service, and of the peer's."""
    ours, peer = sys.argv[1:3]
    steady = {"mail": Steady("M", mail, ours), "trace": Steady("T", touch, ours), "peer": Steady("P", touch, peer)}
    running = [asyncio.create_task(each.run()) for each in steady.values()]
    while command := await asyncio.to_thread(sys.stdin.readline):
        rates = json.loads(command)
        for name, each in steady.items():
            each.rate = float(rates.get(name, 0))
        if not any(rates.values()):
            await asyncio.gather(*(task for each in steady.values() for task in each.open))
            print("quiet", flush=True)
    for task in running:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
