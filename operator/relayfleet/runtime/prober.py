"""The prober's process: serves the leading operator as `protocol.probing` says, over mutually authenticated TLS.

Of several leaders the one with the highest epoch is served; others are told good-bye by a closed connection. A leader that reads nothing
costs no memory: what it has not taken of good news is dropped, and of bad news too when even that is too much.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop

from relayfleet.observe.probing.fleet import AddressError, Fleet
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.protocol import probing
from relayfleet.protocol.probing import Burst, Hello, Order, ProtocolError, Seen, Watch

log = logging.getLogger(__name__)

KEEP_ALIVE = 0.2
"""A word comes at least so often, so that a frozen prober is noticed."""
LEADERLESS = 5.0
"""Seconds for which probing goes on without a leader: a lost connection is back in less."""
_MOST_BUFFERED = 4 * 1024 * 1024
_MOST_WAITING = 20_000
_HELLO_SECONDS = 5.0


@dataclass(slots=True)
class Outbox:
    """What one leader has not been told yet. `dropped`: sights that it did not take in time."""

    writer: asyncio.StreamWriter
    waiting: deque[Sighting] = field(default_factory=lambda: deque(maxlen=_MOST_WAITING))
    told_at: float = 0.0
    dropped: int = 0

    def flush(self) -> None:
        """Tell what waits, or that there is nothing."""
        now = time.monotonic()
        sights, self.told_at = list(self.waiting), now
        self.waiting.clear()
        if self.writer.transport.get_write_buffer_size() > _MOST_BUFFERED:
            self.dropped += len(sights)
            return
        self.writer.write(probing.encode(Seen(tuple(each.told(now) for each in sights))))


class Prober:
    """One process's part: the fleet that is probed, and the leader that is served."""

    def __init__(self) -> None:
        self._fleet = Fleet(self._saw)
        self._outbox: Outbox | None = None
        self._epoch = -1
        self._urgent = False
        self._orphaned: asyncio.TimerHandle | None = None

    async def serve(self, server: asyncio.Server) -> None:
        """Until cancelled."""
        try:
            async with server:
                while True:
                    await asyncio.sleep(probing.GATHER)
                    box = self._outbox
                    if box and (box.waiting or time.monotonic() - box.told_at >= KEEP_ALIVE):
                        box.flush()
        finally:
            self._fleet.close()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a leader, from its hello on."""
        box, who = Outbox(writer), "somebody"
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                hello = probing.decode_order(await reader.readline())
            if not isinstance(hello, Hello):
                raise ProtocolError("it did not say who it is")
            who = f"{hello.identity}, epoch {hello.epoch}"
            self._follow(hello, box)
            while line := await reader.readline():
                if self._outbox is not box:
                    return  # another leader was elected
                self._obey(probing.decode_order(line))
        except (OSError, TimeoutError, ValueError) as error:
            log.warning("leader %s: %s", who, error or "says nothing")
        finally:
            writer.close()
            self._leave(box)

    def _follow(self, hello: Hello, box: Outbox) -> None:
        if hello.epoch < self._epoch:
            raise ProtocolError(f"a leader of epoch {self._epoch} is known")
        if self._outbox:
            self._outbox.writer.close()
        if self._orphaned:
            self._orphaned.cancel()
        self._epoch, self._outbox = hello.epoch, box
        box.flush()

    def _leave(self, box: Outbox) -> None:
        if box.dropped:
            log.warning("%d observations were not taken by the leader in time", box.dropped)
        if self._outbox is box:
            self._outbox = None
            self._orphaned = asyncio.get_running_loop().call_later(LEADERLESS, self._fleet.watch, ())

    def _obey(self, order: Order) -> None:
        match order:
            case Watch(targets):
                try:
                    self._fleet.watch(targets)
                except AddressError as error:
                    raise ProtocolError(str(error)) from error
            case Burst(keys):
                self._fleet.burst(keys)

    def _saw(self, sighting: Sighting) -> None:
        """Good news is gathered, bad news goes out in this very turn of the loop, with all that the turn brings."""
        if self._outbox is None:
            return
        self._outbox.waiting.append(sighting)
        if sighting.kind != "Answered" and not self._urgent:
            self._urgent = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._urgent = False
        if self._outbox:
            self._outbox.flush()


async def serve(
    port: int,
    certificate: str,
    key: str,
    authority: str,
    host: str | None = None,
    started: asyncio.Future[int] | None = None,
) -> None:
    """Run until cancelled. `started` gets the port (given 0, any). Files are PEM. Raises OSError for a port that is taken, ssl.SSLError for
    files that are no certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    prober = Prober()
    server = await asyncio.start_server(prober.meet, host, port, ssl=context, limit=probing.MOST_BYTES)
    if started:
        started.set_result(server.sockets[0].getsockname()[1])
    await prober.serve(server)


def run(files: Sequence[str], port: int = probing.PORT) -> int:
    """The process: `files` are certificate, key and authority. Ends by a signal only."""
    certificate, key, authority = files
    uvloop.run(serve(port, certificate, key, authority))
    return 0
