"""One question to one name server: over UDP, and once more over TCP when the answer does not fit.

The socket is connected. So the kernel lets nobody else answer, and a host at which no server listens is known at once: unconnected
sockets never hear of it, and would wait as long as for one that is off.
"""

from __future__ import annotations

import asyncio

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from relayfleet.relay.routing.servers import Server

EDNS_PAYLOAD = 1232
"""Largest UDP answer that is not fragmented on the usual paths (DNS flag day 2020)."""

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
    loop = asyncio.get_running_loop()
    transport, listening = await loop.create_datagram_endpoint(lambda: _Listening(question), remote_addr=server)
    try:
        transport.sendto(question.to_wire())
        return await listening.response
    finally:
        transport.close()


class _Listening(asyncio.DatagramProtocol):
    """Waits for the response. What is no response to the question is passed over: anybody can send it, under the server's name."""

    def __init__(self, question: dns.message.Message) -> None:
        self._question = question
        self.response: asyncio.Future[dns.message.Message | None] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        try:
            found: dns.message.Message | None = dns.message.from_wire(data, raise_on_truncation=True)
        except dns.message.Truncated as error:
            if not self._question.is_response(error.message()):  # type: ignore[no-untyped-call]
                return
            found = None
        except Exception:
            return  # whatever a parser makes of bytes that anybody may have sent
        if (found is None or self._question.is_response(found)) and not self.response.done():
            self.response.set_result(found)

    def error_received(self, exc: Exception) -> None:
        if not self.response.done():
            self.response.set_exception(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.response.done():
            self.response.set_exception(exc or EOFError("the socket was closed"))
            self.response.exception()  # whoever closed it does not wait for it any more
