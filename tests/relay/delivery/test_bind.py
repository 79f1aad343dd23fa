"""The resolver against BIND: what a name server that this project did not write says of odd zones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from relayfleet.relay.routing.errors import DnsError, DnsPermanent, DnsTemporary
from relayfleet.relay.routing.lookup import Lookup
from relayfleet.relay.routing.resolver import Exchange, Resolver
from relayfleet.relay.routing.router import Router
from tests.relay import bind

MANY = 90
"""BIND serves a hundred records of one name and type at most."""
ZONE = f"""$TTL 300
@ IN SOA ns root 1 60 60 60 30
@ IN NS ns
ns IN A 192.0.2.53
@ IN MX 10 mx1
@ IN MX 20 mx2
mx1 IN A 192.0.2.1
mx1 IN AAAA 2001:db8::1
mx2 IN A 192.0.2.2
null IN MX 0 .
alias IN CNAME chain
chain IN CNAME @
plain IN A 192.0.2.9
text IN TXT "no mail"
xn--bcher-kva IN MX 5 mx2
{"".join(f"many IN MX 10 a-host-with-a-rather-long-name-{number:03}.mail.test.{chr(10)}" for number in range(MANY))}"""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    """BIND in a container."""
    with bind.running({"mail.test": ZONE, "broken.test": None}) as found:
        yield found.address


@pytest.fixture
async def resolver(server: tuple[str, int]) -> Resolver:
    """As soon as BIND answers."""
    lookup = Lookup([server])
    async with asyncio.timeout(10):
        while True:
            try:
                await lookup.ask("mail.test", "SOA")
                return Resolver(lookup)
            except DnsTemporary:
                await asyncio.sleep(0.1)


MAIL = {Exchange(10, "mx1.mail.test"), Exchange(20, "mx2.mail.test")}
EXCHANGES = {
    "two exchangers": ("mail.test", MAIL),
    "a chain of aliases": ("alias.mail.test", MAIL),
    "null MX": ("null.mail.test", {Exchange(0, "")}),
    "a host without MX": ("plain.mail.test", set()),
    "a name without MX or address": ("text.mail.test", set()),
    "an international name": ("xn--bcher-kva.mail.test", {Exchange(5, "mx2.mail.test")}),
}


@pytest.mark.parametrize("case", EXCHANGES)
async def test_exchangers(resolver: Resolver, case: str) -> None:
    domain, expected = EXCHANGES[case]
    assert set(await resolver.mail_exchangers(domain)) == expected


async def test_an_answer_too_large_for_udp_comes_over_tcp(resolver: Resolver) -> None:
    assert len(await resolver.mail_exchangers("many.mail.test")) == MANY


async def test_addresses(resolver: Resolver) -> None:
    assert await resolver.addresses("mx1.mail.test") == ("192.0.2.1", "2001:db8::1")
    assert await resolver.addresses("text.mail.test") == ()


FAILURES: dict[str, tuple[str, type[DnsError]]] = {
    "NXDOMAIN is permanent": ("nowhere.mail.test", DnsPermanent),
    "a zone that cannot be loaded is temporary": ("broken.test", DnsTemporary),
    "a zone that the server does not serve is temporary": ("elsewhere.test", DnsTemporary),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_failures(resolver: Resolver, case: str) -> None:
    domain, expected = FAILURES[case]
    with pytest.raises(expected):
        await resolver.mail_exchangers(domain)


async def test_a_route_from_zone_to_address(resolver: Resolver) -> None:
    router = Router(resolver, {"mx2.mail.test"}, (), Random(1))
    route = await router.route("mail.test")
    assert route.hosts == ("mx1.mail.test",)
    assert await router.addresses(route.hosts[0], 4) == ("192.0.2.1",)
