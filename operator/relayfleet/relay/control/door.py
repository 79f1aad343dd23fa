"""The door of the control server: it listens when there are certificates, and lets few in at a time.

Connections are counted from the moment they are accepted, since a handshake costs more than anything after it. When the room is full, one
that has not said who it is makes place for the newcomer: strangers shall not keep the leader out.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from relayfleet.relay.control.counters import ControlCounters
from relayfleet.relay.control.keys import Keys

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 8
LOOK_EVERY = 0.5
"""Seconds between two looks for certificates."""
AGAIN = 1.0
"""Seconds to wait after the port could not be had, or nothing could be accepted."""


class Door:
    """`meet` is given each connection, and need not close it. `address` is where it listens ("" is everywhere)."""

    def __init__(
        self,
        keys: Keys,
        meet: Callable[[socket.socket], Awaitable[None]],
        counters: ControlCounters,
        address: str,
    ) -> None:
        self._keys = keys
        self._meet = meet
        self._counters = counters
        self._address = address
        self._guests: dict[asyncio.Task[None], bool] = {}
        self.port = 0

    async def open(self, port: int) -> None:
        """Until cancelled; then all connections end."""
        await self._wait_for_keys()
        try:
            with await self._listen(port) as listening:
                while True:
                    await self._admit(listening)
        finally:
            guests = tuple(self._guests)
            for each in guests:
                each.cancel()
            await asyncio.gather(*guests, return_exceptions=True)

    def introduced(self) -> None:
        """The connection of this task is known: it makes place for nobody."""
        task = asyncio.current_task()
        if task in self._guests:
            self._guests[task] = True

    async def _wait_for_keys(self) -> None:
        if self._keys.context() is None:
            log.warning(
                "control: no certificates in %s: no orders, no telemetry until there are some", self._keys.folder
            )
        while self._keys.context() is None:  # noqa: ASYNC110 - files have no event
            await asyncio.sleep(LOOK_EVERY)

    async def _listen(self, port: int) -> socket.socket:
        failed = False
        while True:
            try:
                sock = _bound(self._address, port)
            except OSError as error:
                if not failed:
                    log.error("control: port %d cannot be listened on: %s", port, error)
                failed = True
                await asyncio.sleep(AGAIN)
                continue
            sock.setblocking(False)
            self.port = sock.getsockname()[1]
            log.info("control: waits for the leader on port %d", self.port)
            return sock

    async def _admit(self, listening: socket.socket) -> None:
        try:
            sock, _ = await asyncio.get_running_loop().sock_accept(listening)
        except OSError as error:
            log.warning("control: no connection can be accepted: %s", error)
            await asyncio.sleep(AGAIN)
            return
        self._make_place()
        task = asyncio.create_task(self._host(sock), name="control connection")
        self._guests[task] = False
        task.add_done_callback(self._gone)
        # Cancelled before its first step it would leave the socket to nobody.
        await asyncio.sleep(0)

    async def _host(self, sock: socket.socket) -> None:
        try:
            await self._meet(sock)
        except Exception:
            log.exception("control: a fault of ours ended a connection")

    def _make_place(self) -> None:
        strangers = [task for task, introduced in self._guests.items() if not introduced]
        if len(self._guests) >= MOST_CONNECTIONS and strangers:
            self._counters.crowded += 1
            del self._guests[strangers[0]]
            strangers[0].cancel()

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._guests.pop(task, None)


def _bound(address: str, port: int) -> socket.socket:
    if not address and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server((address, port))
