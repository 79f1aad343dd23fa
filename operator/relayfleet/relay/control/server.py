"""The control server: the leader of the highest epoch is told of live traffic and gives orders; everybody else is sent away.

It serves nobody without a certificate of the operator's CA, and nothing that comes in can grow: neither the number of connections, nor a
line, nor the time until the first word. Whatever fails here, the relay goes on relaying.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable

from relayfleet.protocol.telemetry import MOST_BYTES, PORT, Hello, Order, PoolUsage, TelemetryError, decode_word
from relayfleet.relay.control.counters import ControlCounters
from relayfleet.relay.control.door import Door
from relayfleet.relay.control.keys import Keys
from relayfleet.relay.control.telling import Telling
from relayfleet.relay.control.windows import Windows

log = logging.getLogger(__name__)

HANDSHAKE = 5.0
INTRODUCTION = 5.0
"""Who says nothing for so many seconds after the handshake has to go."""


class ControlServer:
    """Serves while `run` runs. `obey` carries out an order, `learn` hears what all relays took from credentials with limits. `address` is where it
    listens ("" is everywhere)."""

    def __init__(
        self,
        keys: Keys,
        windows: Windows,
        obey: Callable[[Order], None],
        address: str = "",
        learn: Callable[[PoolUsage], None] = lambda told: None,
    ) -> None:
        self.counters = ControlCounters()
        self._keys = keys
        self._windows = windows
        self._obey = obey
        self._learn = learn
        self._door = Door(keys, self._meet, self.counters, address)
        self._leader: Telling | None = None
        self._hello: Hello | None = None
        self._led_until = time.monotonic()

    @property
    def unled(self) -> float:
        """Seconds for which no leader has been there."""
        return 0.0 if self._leader is not None else time.monotonic() - self._led_until

    @property
    def port(self) -> int:
        """The port listened on; 0 before."""
        return self._door.port

    async def run(self, port: int = PORT) -> None:
        """Until cancelled. Listens as soon as there are certificates."""
        await self._door.open(port)

    async def _meet(self, sock: socket.socket) -> None:
        """One connection from its handshake to its end."""
        reader = asyncio.StreamReader(limit=MOST_BYTES)
        transport: asyncio.Transport | None = None
        try:
            transport = await self._secured(sock, reader)
            await self._attend(reader, transport)
        except TelemetryError as error:
            self.counters.garbage += 1
            log.warning("control: connection closed: %s", error)
        except (OSError, TimeoutError) as error:
            self.counters.broken += 1
            log.info("control: connection ended: %s", error or "no word in time")
        finally:
            if transport is not None:
                transport.abort()

    async def _secured(self, sock: socket.socket, reader: asyncio.StreamReader) -> asyncio.Transport:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: asyncio.StreamReaderProtocol(reader),
            sock,
            ssl=self._keys.context(),
            ssl_handshake_timeout=HANDSHAKE,
        )
        return transport

    async def _attend(self, reader: asyncio.StreamReader, transport: asyncio.Transport) -> None:
        hello = await self._introduction(reader)
        if self._hello is not None and not _may_follow(self._hello, hello):
            self.counters.refused += 1
            log.warning("control: %s of epoch %d is refused, %s has led", hello.identity, hello.epoch, self._hello)
            return
        log.info("control: %s leads, epoch %d", hello.identity, hello.epoch)
        if self._leader is not None:
            self._leader.close()
        self._hello = hello
        self._leader = telling = Telling(transport, self._windows, self._left)
        self._door.introduced()
        try:
            await self._listen(reader, telling)
        finally:
            telling.close()
            if self._leader is telling:
                self._leader, self._led_until = None, time.monotonic()

    async def _introduction(self, reader: asyncio.StreamReader) -> Hello:
        async with asyncio.timeout(INTRODUCTION):
            line = await _line(reader)
        if not line:
            raise ConnectionResetError("closed without a word")
        word = decode_word(line)
        if not isinstance(word, Hello):
            raise TelemetryError("a leader says first who it is")
        return word

    async def _listen(self, reader: asyncio.StreamReader, telling: Telling) -> None:
        while line := await _line(reader):
            # Of a leader that was replaced something may still lie in the buffer.
            if self._leader is not telling:
                return
            match decode_word(line):
                case Order() as order:
                    self._obey(order)
                    telling.tell()
                case PoolUsage() as told:
                    self._learn(told)
                case Hello():
                    raise TelemetryError("a leader says only once who it is")

    def _left(self) -> None:
        self.counters.deaf += 1
        log.warning("control: the leader does not read and is left")


def _may_follow(known: Hello, other: Hello) -> bool:
    """A higher epoch, or the same leader anew."""
    return other.epoch > known.epoch or other == known


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line, b"" at the end of the stream. Raises TelemetryError for one that is too long."""
    try:
        return await reader.readline()
    except ValueError as error:
        raise TelemetryError(f"a line of more than {MOST_BYTES} bytes") from error
