"""The prober process: it serves the leading operator over mutually authenticated TLS, and probes what the leader tells it to.

It decides nothing and remembers nothing but the highest epoch it has met, so a leader of the past cannot direct it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import ssl

import uvloop

from relayfleet.observe.probing.brokerfleet import BrokerFleet
from relayfleet.observe.probing.brokersighting import BrokerSighting
from relayfleet.observe.probing.fleet import AddressError, Fleet
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.protocol.probing import MOST_BYTES, PORT, Burst, Hello, Order, ProtocolError, Watch, decode_order
from relayfleet.runtime.telling import Telling

log = logging.getLogger(__name__)

ALIVE = 0.25
"""The leader hears something at least so often, in seconds; otherwise this prober is frozen or cut off."""
GOES_ON = 5.0
"""Without a leader probing goes on for so long: a new one shall not find us starting."""
INTRODUCTION = 5.0
"""Who says nothing for so long after connecting has to go."""
_STRANGERS = 16
_HANDSHAKE = 5.0


async def serve(
    port: int, certificate: str, key: str, authority: str, host: str = "", started: asyncio.Future[int] | None = None
) -> None:
    """Serve until cancelled; `started` gets the port. Files in PEM; raises OSError or ssl.SSLError when they or the port cannot be used."""
    prober = Prober()
    context = server_context(certificate, key, authority)
    try:
        server = await asyncio.start_server(
            prober.meet, host or None, port, ssl=context, limit=MOST_BYTES, ssl_handshake_timeout=_HANDSHAKE
        )
        try:
            log.info("prober serves on port %d", server.sockets[0].getsockname()[1])
            if started is not None:
                started.set_result(server.sockets[0].getsockname()[1])
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
    finally:
        await prober.close()


def run(arguments: argparse.Namespace) -> int:
    """Until it is stopped; returns the exit status. Arguments: certificate, key, authority, port (None: the usual one)."""
    _allow_many_sockets()
    port = arguments.port or PORT
    try:
        uvloop.run(serve(port, arguments.certificate, arguments.key, arguments.authority))
    except (OSError, ssl.SSLError) as error:
        log.error("prober cannot serve on port %d: %s", port, error)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def server_context(certificate: str, key: str, authority: str) -> ssl.SSLContext:
    """TLS 1.3; clients must show a certificate of the authority. Names are not checked: pods have none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    return context


def _allow_many_sockets() -> None:
    """Thousands of targets have a socket each, and some more in bad times."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Prober:
    """Targets, and at most one leader."""

    def __init__(self) -> None:
        self._fleet = Fleet(self._report)
        self._brokers = BrokerFleet(self._report_broker)
        self._leader: Telling | None = None
        self._hello: Hello | None = None
        self._strangers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        self._stop: asyncio.TimerHandle | None = None
        self._alive = loop.call_later(ALIVE, self._say_alive)

    async def close(self) -> None:
        """End all connections and probes."""
        self._alive.cancel()
        if self._stop is not None:
            self._stop.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fleet.close()
        self._brokers.close()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from beginning to end."""
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        try:
            await self._attend(reader, writer)
        except (ProtocolError, AddressError) as error:
            log.warning("connection of %s closed: %s", _peer(writer), error)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.info("connection of %s ended: %s", _peer(writer), error or "no word in time")
        except asyncio.CancelledError:
            log.debug("connection of %s closed: the prober stops", _peer(writer))
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await self._introduction(reader)
        if self._hello is not None and not _may_follow(self._hello, hello):
            raise ProtocolError(f"{hello.identity} has epoch {hello.epoch}, {self._hello.identity} {self._hello.epoch}")
        log.info("%s leads, epoch %d", hello.identity, hello.epoch)
        if self._leader is not None:
            self._leader.close()
        self._hello = hello
        self._leader = telling = Telling(writer.transport)
        self._wait_no_longer()
        try:
            while line := await _line(reader):
                self._obey(decode_order(line))
        finally:
            telling.close()
            if self._leader is telling:
                self._leader = None
                self._stop = asyncio.get_running_loop().call_later(GOES_ON, self._without_leader)

    async def _introduction(self, reader: asyncio.StreamReader) -> Hello:
        if self._strangers >= _STRANGERS:
            raise ProtocolError("too many connections that say nothing")
        self._strangers += 1
        try:
            async with asyncio.timeout(INTRODUCTION):
                order = decode_order(await _line(reader))
        finally:
            self._strangers -= 1
        if not isinstance(order, Hello):
            raise ProtocolError("a leader says first who it is")
        return order

    def _obey(self, order: Order) -> None:
        match order:
            case Watch(targets, brokers):
                self._fleet.watch(targets)
                self._brokers.watch(brokers)
            case Burst(keys):
                self._fleet.burst(keys)
            case Hello():
                raise ProtocolError("a leader says only once who it is")

    def _report(self, sighting: Sighting) -> None:
        if self._leader is not None:
            self._leader.add(sighting)

    def _report_broker(self, sighting: BrokerSighting) -> None:
        if self._leader is not None:
            self._leader.add_broker(sighting)

    def _say_alive(self) -> None:
        self._alive = asyncio.get_running_loop().call_later(ALIVE / 2, self._say_alive)
        if self._leader is not None:
            self._leader.say_alive()

    def _wait_no_longer(self) -> None:
        if self._stop is not None:
            self._stop.cancel()
            self._stop = None

    def _without_leader(self) -> None:
        log.warning("no leader for %.0f s: probing stops", GOES_ON)
        self._fleet.watch(())
        self._brokers.watch(())


def _may_follow(known: Hello, other: Hello) -> bool:
    """A higher epoch, or the same leader anew."""
    return other.epoch > known.epoch or other == known


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line that is not blank, b"" at the end of the stream. Raises ProtocolError for one that is too long."""
    while True:
        try:
            line = await reader.readline()
        except ValueError as error:
            raise ProtocolError(f"a line of more than {MOST_BYTES} bytes") from error
        if not line or line.strip():
            return line


def _peer(writer: asyncio.StreamWriter) -> str:
    name = writer.get_extra_info("peername")
    return str(name[0]) if name else "a peer"
