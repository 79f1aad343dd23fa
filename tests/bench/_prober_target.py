"""Something for a prober to talk to: answers every command with 250 and takes every mail, in a process of its own. Prints its port."""

from __future__ import annotations

import asyncio
from typing import cast

import uvloop


class Target(asyncio.Protocol):
    """One session."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._in_message = False
        self._transport.write(b"220 target\r\n")

    def data_received(self, data: bytes) -> None:
        if self._in_message:
            self._in_message = not data.endswith(b"\r\n.\r\n")
            self._transport.write(b"" if self._in_message else b"250 Ok\r\n")
            return
        self._in_message = data.endswith(b"DATA\r\n")
        self._transport.write(b"250 PIPELINING\r\n" * (data.count(b"\n") - self._in_message))
        if self._in_message:
            self._transport.write(b"354 Go on\r\n")
        if data.startswith(b"QUIT"):
            self._transport.close()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
