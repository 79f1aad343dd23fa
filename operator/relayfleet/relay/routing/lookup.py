"""One DNS question to several resolvers: the first usable answer wins.

A resolver that is silent for half a second is not abandoned, it gets company: the next one is asked as well, and whoever answers
first is believed. So a dead resolver costs 500 ms at most and a slow, honest one still counts. The resolver that let us wait goes to
the end of the line, so the next question does not wait for it again.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from relayfleet.relay.control.tally import Tally
from relayfleet.relay.routing.errors import DnsPermanent, DnsTemporary

HEDGE_SECONDS = 0.5
LIFETIME_SECONDS = 5.0
ROUNDS = 2
"""Each resolver is asked this often: UDP loses packets."""
EDNS_PAYLOAD = 1232
"""Largest UDP answer that is not fragmented on the usual paths (DNS flag day 2020)."""

Server = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resolver said. `exists` False: NXDOMAIN. `values` are as in a zone file, names without the last dot. `ttl` seconds."""

    values: tuple[str, ...]
    ttl: float
    exists: bool = True


class Lookup:
    """Asks the given resolvers, and tells `tally` which answered. Raises DnsTemporary when none gave a usable answer in five seconds."""

    def __init__(self, servers: Sequence[Server], tally: Tally | None = None) -> None:
        if not servers:
            raise ValueError("no DNS resolver: name one in the relay's configuration or in /etc/resolv.conf")
        self._servers = list(servers)
        self._tally = tally or Tally()

    async def ask(self, name: str, kind: str) -> Answer:
        """The records of one name and type, CNAMEs followed by the resolver."""
        try:
            question = dns.name.from_text(name)
        except dns.exception.DNSException as error:
            raise DnsPermanent("5.1.2", f"{name!r} is no domain name: {error}") from error
        race = _Race(question, dns.rdatatype.from_text(kind), [*self._servers] * ROUNDS, self._tally)
        try:
            answer = await race.run()
        finally:
            for server in race.silent:
                self._servers.remove(server)
                self._servers.append(server)
        if answer is None:
            raise DnsTemporary(f"no resolver answered for {name} {kind}: {race.complaint}")
        return answer


class _Race:
    """One question under way. `silent`: the resolvers that failed, or were overtaken."""

    def __init__(self, name: dns.name.Name, kind: dns.rdatatype.RdataType, servers: list[Server], tally: Tally) -> None:
        self.name, self.kind, self.tally = name, kind, tally
        self.complaint = "timed out"
        self.silent: list[Server] = []
        self._waiting = servers[::-1]
        self._asked: dict[asyncio.Task[Answer], tuple[Server, float]] = {}
        self._now = asyncio.get_running_loop().time

    async def run(self) -> Answer | None:
        deadline = asyncio.get_running_loop().time() + LIFETIME_SECONDS
        try:
            while True:
                self._ask_next()
                left = deadline - asyncio.get_running_loop().time()
                if not self._asked or left <= 0:
                    self._blame()
                    return None
                answer = await self._first(min(left, HEDGE_SECONDS) if self._waiting else left)
                if answer is not None:
                    self._blame()
                    return answer
        finally:
            for task in self._asked:
                task.cancel()

    def _ask_next(self) -> None:
        if self._waiting:
            server = self._waiting.pop()
            self._asked[asyncio.create_task(_query(self.name, self.kind, server))] = server, self._now()

    async def _first(self, seconds: float) -> Answer | None:
        done, _ = await asyncio.wait(self._asked, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        answer = None
        for task in done:
            server, _ = self._asked.pop(task)
            if (error := task.exception()) is None:
                answer = task.result()
                self.tally.lookup(_text(server), True)
            elif isinstance(error, _FAILURES):
                self.complaint = f"{server[0]}: {error or type(error).__name__}"
                self.tally.lookup(_text(server), False)
                self._note(server)
            else:
                raise error
        return answer

    def _blame(self) -> None:
        """Those still silent. One that was asked a moment ago only was overtaken, which is no failure."""
        for server, since in self._asked.values():
            self._note(server)
            if self._now() - since >= HEDGE_SECONDS:
                self.tally.lookup(_text(server), False)

    def _note(self, server: Server) -> None:
        if server not in self.silent:
            self.silent.append(server)


class _UnusableError(Exception):
    """The resolver answered, but not the question."""


_FAILURES = (OSError, EOFError, dns.exception.DNSException, _UnusableError)


async def _query(name: dns.name.Name, kind: dns.rdatatype.RdataType, server: Server) -> Answer:
    query = dns.message.make_query(name, kind, use_edns=0, payload=EDNS_PAYLOAD)
    host, port = server
    response, _ = await dns.asyncquery.udp_with_fallback(query, host, timeout=LIFETIME_SECONDS, port=port)
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise _UnusableError(dns.rcode.to_text(response.rcode()))
    if not isinstance(response, dns.message.QueryMessage):
        raise _UnusableError("no answer to a query")
    chain = response.resolve_chaining()
    return Answer(_values(chain.answer), float(chain.minimum_ttl), response.rcode() == dns.rcode.NOERROR)


def _values(records: dns.rrset.RRset | None) -> tuple[str, ...]:
    return tuple(record.to_text().removesuffix(".") for record in records or ())


def parse_servers(texts: Sequence[str]) -> tuple[Server, ...]:
    """Addresses as `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`. Raises ValueError for anything else."""
    return tuple(_server(text) for text in texts)


def system_servers(path: Path = Path("/etc/resolv.conf")) -> tuple[Server, ...]:
    """The `nameserver` lines of resolv.conf. Search domains are not used: mail domains are complete."""
    lines = (line.split() for line in path.read_text().splitlines())
    return parse_servers([words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"])


def _text(server: Server) -> str:
    host, port = server
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _server(text: str) -> Server:
    host, port = text, "53"
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":") or "53"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    ipaddress.ip_address(host.partition("%")[0])
    return host, int(port)
