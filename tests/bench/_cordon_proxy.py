"""A relay that is not dead but wrong: sits before it in its pod's network, passes all on, and goes wrong when told to.

On stdin one word: `mute` (accepts, says nothing more, in old sessions too), `451` (to every recipient) or `slow` (2 s before each reply).
The answer on stdout is the time of it, in CLOCK_MONOTONIC. Only plain SMTP is understood.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque

SLOW = 2.0
BEFORE = 10_000
"""Port 2520 of the relay is served at 12520."""
LINE = 1 << 20


class Proxy:
    """`fault` is none at first."""

    def __init__(self, address: str, ports: list[int]) -> None:
        self._address, self._ports = address, ports
        self.fault = ""

    async def serve(self) -> None:
        """Listen; returns when all ports are open."""
        for port in self._ports:
            await asyncio.start_server(self._session_at(port), "0.0.0.0", port + BEFORE, limit=LINE, backlog=512)

    def _session_at(self, port: int):  # type: ignore[no-untyped-def]  # noqa: ANN202 - what start_server takes
        async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            upstream_writer = None
            try:
                upstream_reader, upstream_writer = await asyncio.open_connection(self._address, port, limit=LINE)
                dialogue = Dialogue(self, (reader, writer), (upstream_reader, upstream_writer))
                await dialogue.run()
            except OSError:
                pass
            finally:
                for each in (writer, upstream_writer):
                    if each:
                        each.transport.abort() if self.fault == "" and each.is_closing() else each.close()

        return session


class Dialogue:
    """One session: who said what last, so that the answer to a recipient is known as such."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._asked: deque[str] = deque(["connect"])
        self._in_text = False

    async def run(self) -> None:
        """Until one side ends."""
        sides = [asyncio.create_task(self._to_server()), asyncio.create_task(self._to_client())]
        await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        for each in sides:
            each.cancel()
        await asyncio.gather(*sides, return_exceptions=True)

    async def _to_server(self) -> None:
        while line := await self._client[0].readline():
            self._server[1].write(self._heard(line))
            await self._server[1].drain()
        await asyncio.sleep(0.05)  # the last answer may be under way

    def _heard(self, line: bytes) -> bytes:
        if self._in_text:
            if line == b".\r\n":
                self._in_text = False
                self._asked.append("dot")
            return line
        verb = line[:4].upper().decode(errors="replace")
        wrong = verb == "RCPT" and self._proxy.fault == "451"
        self._asked.append("wrong" if wrong else verb)
        return (
            b"RCPT TO:<>\r\n" if wrong else line
        )  # which the relay refuses: so it also refuses the DATA that may follow

    async def _to_client(self) -> None:
        while line := await self._server[0].readline():
            last = line[3:4] != b"-"
            asked = self._asked[0] if self._asked else ""
            if last and self._asked:
                self._asked.popleft()
            if last and asked == "DATA" and line.startswith(b"354"):
                self._in_text = True
            if self._proxy.fault == "slow" and last:
                await asyncio.sleep(SLOW)
            if asked == "wrong":
                line = b"451 4.3.0 Something is wrong here\r\n" if last else b""
            if self._proxy.fault != "mute":
                self._client[1].write(line)
                await self._client[1].drain()
        if self._proxy.fault == "mute":
            await asyncio.Event().wait()


async def main() -> None:
    """Arguments: the pod's address, its first and its last port."""
    address, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    proxy = Proxy(address, list(range(first, last + 1)))
    await proxy.serve()
    print("serving", flush=True)
    while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
        proxy.fault = word
        print(f"{time.monotonic():.6f}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
