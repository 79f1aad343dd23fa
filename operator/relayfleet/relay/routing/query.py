"""One question to one name server: over UDP, and once more over TCP when the answer does not fit.

The socket is connected. So the kernel lets nobody else answer, and a host at which no server listens is known at once: unconnected
sockets never hear of it, and would wait as long as for one that is off.
"""

from __future__ import annotations

import asyncio
import socket

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from relayfleet.relay.routing.servers import Server

EDNS_PAYLOAD = 1232
"""Largest UDP answer that is not fragmented on the usual paths (DNS flag day 2020)."""

MOST_BYTES = 65535
"""Of a datagram."""

USABLE = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
"""Answers to the question; all other codes say why there is none."""

FAILURES = (OSError, EOFError, dns.exception.DNSException)
"""What `query` raises when no response comes."""


async def query(
    name: dns.name.Name, kind: dns.rdatatype.RdataType, server: Server, timeout: float
) -> dns.message.Message:
    """The response, whatever its code. Raises FAILURES; TimeoutError after so many seconds."""
    question = dns.message.make_query(name, kind, use_edns=0, payload=EDNS_PAYLOAD)
    async with asyncio.timeout(timeout):
        response = await _by_udp(question, server)
        if response is None:
            response = await dns.asyncquery.tcp(question, server[0], port=server[1])
        return response


async def _by_udp(question: dns.message.Message, server: Server) -> dns.message.Message | None:
    """None: the answer is too large for UDP."""
    # No transport: who is cancelled while uvloop makes one for datagrams leaves it open, and the loop then never closes.
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect(server)
        sock.send(question.to_wire())
        while True:
            found, is_cut = _message(await asyncio.get_running_loop().sock_recv(sock, MOST_BYTES))
            # Anybody can send something under the server's name.
            if found is not None and question.is_response(found):
                return None if is_cut else found


def _message(data: bytes) -> tuple[dns.message.Message | None, bool]:
    """The message, and whether it was cut to fit; None: it is none."""
    try:
        return dns.message.from_wire(data, raise_on_truncation=True), False
    except dns.message.Truncated as error:
        return error.message(), True  # type: ignore[no-untyped-call]
    except Exception:  # whatever a parser makes of bytes that anybody may have sent
        return None, False
