"""The DNS probe over real sockets: what is an answer of a name server, and what is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from relayfleet.protocol.dependency import DnsTarget
from relayfleet.relay.dependencies.dns import DnsProbe
from relayfleet.relay.dependencies.outcome import ANSWERED, Kind
from relayfleet.relay.dependencies.reaching import Names
from relayfleet.relay.routing.servers import written
from tests.fakes.dns import Responder, responder
from tests.relay.dependencies.servers import closed_port, hang, outcome, serving

ZONE = {("example.com", "A"): ["192.0.2.1"], ("example.com", "MX"): ["10 mx.example.com."]}
DEADLINE = 0.2


@pytest.fixture
def names() -> Iterator[Names]:
    found = Names()
    yield found
    found.close()


@pytest.fixture
async def server() -> AsyncIterator[Responder]:
    async with responder(ZONE, port=closed_port()) as running:
        yield running


def probe(server: Responder | str, names: Names, name: str = "example.com", kind: str = "A") -> DnsProbe:
    address = server if isinstance(server, str) else written(server.address)
    return DnsProbe(DnsTarget(address, name, kind), names)


@pytest.mark.parametrize(("name", "kind"), [("example.com", "A"), ("Example.Com.", "MX"), ("example.com", "TXT")])
async def test_an_answer_is_one_also_when_there_is_no_such_record(
    server: Responder, names: Names, name: str, kind: str
) -> None:
    assert await outcome(probe(server, names, name, kind)) == ANSWERED
    assert server.asked == [("example.com", kind)]


async def test_that_a_name_does_not_exist_is_an_answer(server: Responder, names: Names) -> None:
    assert await outcome(probe(server, names, "nowhere.example")) == ANSWERED


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
async def test_a_server_that_cannot_say_has_failed(server: Responder, names: Names, code: str) -> None:
    server.mood = code
    found = await outcome(probe(server, names))
    assert (found.kind, found.why) == (Kind.FAILED, f"answers {code}")


async def test_silence_ends_at_the_deadline(server: Responder, names: Names) -> None:
    server.mood = "silent"
    began = time.monotonic()
    found = await outcome(probe(server, names), DEADLINE)
    assert (found.kind, found.why) == (Kind.FAILED, "took more than 0.2 s to answer")
    assert time.monotonic() - began < DEADLINE + 10.0


async def test_a_host_without_a_server_is_known_before_the_deadline(names: Names) -> None:
    found = await outcome(probe(f"127.0.0.1:{closed_port()}", names), 20.0)
    assert (found.kind, found.why) == (Kind.FAILED, "cannot be asked: Connection refused")


async def test_a_name_server_may_be_named(server: Responder, names: Names) -> None:
    assert await outcome(probe(f"localhost:{server.address[1]}", names)) == ANSWERED
    found = await outcome(probe("nobody.invalid:53", names), 10.0)
    assert "its name nobody.invalid does not resolve" in found.why


async def test_an_answer_that_is_too_long_for_udp_is_fetched_by_tcp_and_not_waited_for_without_end(
    server: Responder, names: Names
) -> None:
    server.records["example.com", "TXT"] = [f'"{number:0200}"' for number in range(40)]
    asked = probe(server, names, "example.com", "TXT")
    found = await outcome(asked)
    assert (found.kind, found.why) == (Kind.FAILED, "cannot be asked: Connection refused"), "nobody takes TCP there"
    async with serving(hang, port=server.address[1]) as tcp:
        found = await outcome(asked, 1.0)
        assert (found.kind, found.why) == (Kind.FAILED, "took more than 1 s to answer")
        assert tcp.connections >= 1


async def test_garbage_is_no_answer(names: Names) -> None:
    class Babbler(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            for wire in (b"\x00", data, b"x" * 60_000):
                self.transport.sendto(wire, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Babbler, local_addr=("127.0.0.1", 0))
    try:
        address = "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
        assert (await outcome(probe(address, names), DEADLINE)).kind is Kind.FAILED
    finally:
        transport.close()
