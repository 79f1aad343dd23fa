"""From an address to an open session: bind, connect, greeting, EHLO, STARTTLS when offered.

Encryption is opportunistic (RFC 7435): no certificate is checked, because without DANE or MTA-STS there is nothing to check it
against, and a failed handshake is followed by one try in plain. Each address gets 1.5 seconds to accept the connection, so that a
dead host costs little; after that the times of RFC 5321 hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass

from relayfleet.protocol.relay_config import Source
from relayfleet.relay.delivery.errors import ConnectError, LocalError, Phase, RefusedError, SessionError, TlsError
from relayfleet.relay.delivery.session import BANNER_SECONDS, EHLO_SECONDS, STARTTLS_SECONDS, Session
from relayfleet.relay.delivery.wire import parse_ehlo
from relayfleet.relay.replies.reply import Reply

CONNECT_SECONDS = 1.5
_LOCAL_ERRNOS = frozenset(
    {errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM}
)
_IP_BIND_ADDRESS_NO_PORT = 24
"""Linux: choose the local port at connect, so that one source address is good for 28,000 connections to each peer."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: MX host name, one of its addresses, port."""

    host: str
    address: str
    port: int


def opportunistic_context() -> ssl.SSLContext:
    """TLS that protects against listeners, not against impostors."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def open_session(target: Target, source: Source, context: ssl.SSLContext | None, deadline: float) -> Session:
    """An open session after EHLO; `context` None: stay in plain. `deadline` is loop time. Raises SmtpError; TlsError: try in plain."""
    session = await _connect(target, source)
    try:
        await _greet(session, source, deadline)
        if context is not None and session.peer.starttls:
            await _encrypt(session, context, source, deadline)
    except BaseException:
        session.abort()
        raise
    return session


def bound_socket(family: int, bind_address: str | None) -> socket.socket:
    """A TCP socket, bound when the source has an address of its own. Raises OSError, EADDRNOTAVAIL when this machine lacks it."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        if bind_address:
            with contextlib.suppress(OSError):
                made.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            made.bind((bind_address, 0))
    except OSError:
        made.close()
        raise
    return made


async def _connect(target: Target, source: Source) -> Session:
    family = socket.AF_INET6 if ipaddress.ip_address(target.address).version == 6 else socket.AF_INET
    try:
        made = bound_socket(family, source.bind_address)
    except OSError as error:
        raise LocalError("local", f"cannot send from {source.bind_address}: {error.strerror or error}") from error
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.sock_connect(made, (target.address, target.port))
            _, session = await loop.create_connection(lambda: Session(target.host, target.address), sock=made)
    except TimeoutError as error:
        made.close()
        raise ConnectError("connect", f"no answer from {target.address} within {CONNECT_SECONDS} seconds") from error
    except OSError as error:
        made.close()
        kind = LocalError if error.errno in _LOCAL_ERRNOS else ConnectError
        raise kind("connect", f"{target.address}: {os.strerror(error.errno or 0)}") from error
    except asyncio.CancelledError:
        made.close()
        raise
    return session


async def _greet(session: Session, source: Source, deadline: float) -> None:
    await _expect(session, "banner", BANNER_SECONDS, deadline)
    reply = await _command(session, f"EHLO {source.helo_name}\r\n", "ehlo", EHLO_SECONDS, deadline)
    if reply.positive:
        session.peer = parse_ehlo(reply.lines)
    elif reply.code // 100 == 5 and reply.code != 521:
        session.write(f"HELO {source.helo_name}\r\n".encode(), 1)
        await _expect(session, "ehlo", EHLO_SECONDS, deadline)
    else:
        raise RefusedError("ehlo", reply)


async def _encrypt(session: Session, context: ssl.SSLContext, source: Source, deadline: float) -> None:
    """Raises TlsError whatever goes wrong: the host gets its one try in plain."""
    try:
        reply = await _command(session, "STARTTLS\r\n", "starttls", STARTTLS_SECONDS, deadline)
        if not reply.positive:
            raise TlsError("starttls", f"{reply.code} {reply.text}")
        await session.start_tls(context)
        # What the peer said before counts no more (RFC 3207 section 4.2).
        reply = await _command(session, f"EHLO {source.helo_name}\r\n", "ehlo", EHLO_SECONDS, deadline)
    except SessionError as error:
        raise TlsError("starttls", error.text) from error
    if not reply.positive:
        raise RefusedError("ehlo", reply)
    session.peer = parse_ehlo(reply.lines)


async def _command(session: Session, command: str, phase: Phase, seconds: float, deadline: float) -> Reply:
    session.write(command.encode(), 1)
    return await session.reply(phase, _within(seconds, deadline))


async def _expect(session: Session, phase: Phase, seconds: float, deadline: float) -> None:
    reply = await session.reply(phase, _within(seconds, deadline))
    if not reply.positive:
        raise RefusedError(phase, reply)


def _within(seconds: float, deadline: float) -> float:
    return min(seconds, deadline - asyncio.get_running_loop().time())
