"""Getting a connection: TCP, TLS with a CA and a name, log-in; with errors that say what to look at."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.errors import AccessRefused, AmqpError, ConnectError, Unreachable, Untrusted

HEARTBEAT = 2
"""Seconds. RabbitMQ looks once an interval and gives a silent client up at the second look that finds nothing, after two to three intervals;
then it closes the TLS session, for which a peer that does not answer has another five seconds. Only then are the records of a relay that
froze or vanished handed to others, which should be within 10 s. Its documentation advises 5 or more, since a busy link may be taken for dead;
here that costs a new connection and no mail."""


@dataclass(frozen=True, slots=True)
class Address:
    """A broker node: name or IP, and port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From `host:port` or `[v6]:port`. Raises ValueError."""
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"broker address {text!r} is not host:port")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to the broker. `name` is what its operators see in the list of connections."""

    username: str
    password: str
    vhost: str = "/"
    name: str = "relayfleet"


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """TLS that trusts the CA in the file, or the system's. Raises Untrusted when the file cannot be used."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Untrusted(f"the CA file {ca_file} cannot be used ({error}): it must hold PEM certificates") from error


async def connect(
    address: Address,
    login: Login,
    timeout: float,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    heartbeat: int = HEARTBEAT,
    allowance: int | None = None,
) -> Connection:
    """An open connection within `timeout` seconds. `allowance`: see `Connection`. Raises ConnectError."""
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout):
            connection = await _socket(address, tls, server_name, allowance)
            connection.peer = str(address)
            await connection.handshake(login.username, login.password, login.vhost, heartbeat, login.name)
            return connection
    except TimeoutError as error:
        failure: ConnectError = Unreachable(f"no answer from the broker at {address} within {timeout:g} s")
        failure.__cause__ = error
    except ConnectError as error:
        failure = error
    except AmqpError as error:
        failure = _refusal(address, login, str(error))
        failure.__cause__ = error
    except BaseException:
        _drop(connection)
        raise
    _drop(connection)
    raise failure


def _drop(connection: Connection | None) -> None:
    if connection is not None:
        connection.lose(ConnectError("given up while connecting"))


async def greeted(
    address: Address,
    timeout: float,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    allowance: int | None = None,
) -> dict[str, Any]:
    """See within `timeout` seconds that somebody answers there who speaks AMQP 0-9-1, and leave without a log-in. Returns what he says of himself:
    `product` and `version` are texts where they are stated, and as true as whoever answers. Raises ConnectError."""
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout):
            connection = await _socket(address, tls, server_name, allowance)
            return (await connection.greet()).properties
    except TimeoutError as error:
        raise Unreachable(f"no answer from the broker at {address} within {timeout:g} s") from error
    except ConnectError:
        raise
    except AmqpError as error:
        raise Unreachable(f"the broker at {address} does not begin as AMQP 0-9-1 does: {error}") from error
    finally:
        _drop(connection)


async def _socket(
    address: Address, tls: ssl.SSLContext | None, server_name: str | None, allowance: int | None
) -> Connection:
    name = (server_name or address.host) if tls else None
    loop = asyncio.get_running_loop()
    try:
        for host in (hosts := await _resolve(address)):
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(allowance),
                    host,
                    address.port,
                    ssl=tls,
                    server_hostname=name,
                    ssl_handshake_timeout=60 if tls else None,
                )
                break
            except ssl.SSLError:
                raise
            except OSError:
                if host == hosts[-1]:
                    raise
    except ssl.SSLCertVerificationError as error:
        hint = "is the CA file the one that signed it, and the name right?"
        raise Untrusted(
            f"the broker at {address} shows a certificate that is not valid for {name}: {error.verify_message}; {hint}"
        ) from error
    except ssl.SSLError as error:
        raise Untrusted(f"no TLS with the broker at {address} ({error.reason}): does that port speak TLS?") from error
    except socket.gaierror as error:
        raise Unreachable(f"the broker's name {address.host} does not resolve: {error.strerror}") from error
    except OSError as error:
        raise Unreachable(f"the broker at {address} cannot be reached: {error.strerror or error}") from error
    return connection


async def _resolve(address: Address) -> list[str]:
    """The addresses behind the name. A failure that comes in the same moment as the end of our time has nobody left to hear it, which
    asyncio would report as an error of ours; hence the callback. What is an address already waits for no resolver."""
    with suppress(ValueError):
        return [str(ip_address(address.host))]
    loop = asyncio.get_running_loop()
    found = loop.run_in_executor(None, lambda: socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    found.add_done_callback(lambda done: done.cancelled() or done.exception())
    return list(dict.fromkeys(str(place[0]) for *_, place in await found))


def _refusal(address: Address, login: Login, text: str) -> ConnectError:
    if "ACCESS_REFUSED" in text:
        return AccessRefused(
            f"the broker at {address} refuses user {login.username!r}: wrong password, or no rights on virtual host {login.vhost!r}"
        )
    if "NOT_ALLOWED" in text:
        return AccessRefused(
            f"the broker at {address} has no virtual host {login.vhost!r} for user {login.username!r}: {text}"
        )
    return Unreachable(f"the broker at {address} ended the handshake: {text}")
