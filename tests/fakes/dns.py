"""An authoritative DNS responder on loopback for unit tests: real packets, scripted moods.

The real one (BIND) is asked in tests/relay/delivery; this one starts in a millisecond and can be silent or broken on order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = Mapping[tuple[str, str], Sequence[str]]


@dataclass(eq=False)
class Responder(asyncio.DatagramProtocol):
    """`records` maps (name, type) to values as in a zone file. `mood`: "answer", "silent", or a response code such as "SERVFAIL". `last`:
    who asked last."""

    records: dict[tuple[str, str], Sequence[str]]
    ttl: int = 60
    mood: str = "answer"
    delay: float = 0.0
    asked: list[tuple[str, str]] = field(default_factory=list)
    address: tuple[str, int] = ("", 0)
    last: tuple[str, int] = ("", 0)
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        self.last = addr
        if self.mood != "silent":
            wire = self.response(query, name, kind).to_wire(prefer_truncation=True)
            asyncio.get_running_loop().call_later(self.delay, self.send, wire, addr)

    def send(self, wire: bytes, address: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(wire, address)

    def response(self, query: dns.message.Message, name: str, kind: str) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        if self.mood != "answer":
            response.set_rcode(dns.rcode.from_text(self.mood))
            return response
        if (name, "CNAME") in self.records:
            target = self.records[name, "CNAME"][0]
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", f"{target}."))
            name = target
        if values := self.records.get((name, kind)):
            response.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *values))
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if not response.answer:
            soa = f"ns.invalid. root.invalid. 1 60 60 60 {self.ttl}"
            response.authority.append(dns.rrset.from_text("invalid.", self.ttl, "IN", "SOA", soa))
        return response


@asynccontextmanager
async def responder(records: Records, ttl: int = 60, port: int = 0) -> AsyncIterator[Responder]:
    """A running responder on this port of 127.0.0.1, or a free one. One from `ports.unused` is nobody's for TCP either, nor when this is over."""
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Responder(dict(records), ttl), local_addr=("127.0.0.1", port)
    )
    try:
        yield protocol
    finally:
        transport.close()
