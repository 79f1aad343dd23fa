"""Something for a prober to talk to: answers every line with 250, in a process of its own. Prints its port."""

from __future__ import annotations

import asyncio

import uvloop


class Target(asyncio.Protocol):
    """One session."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 target\r\n")

    def data_received(self, data: bytes) -> None:
        self._transport.write(b"250 Ok\r\n" * data.count(b"\n"))
        if data.startswith(b"QUIT"):
            self._transport.close()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
