"""The way to a domain: its hosts in order, and the addresses of one of them when it is that host's turn."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from relayfleet.relay.routing import mx
from relayfleet.relay.routing.errors import DnsPermanent, DnsTemporary
from relayfleet.relay.routing.resolver import Exchange, Resolver

OTHER_FAMILY = "4.4.4"
"""Status of a host that has addresses of the other IP version only."""


@dataclass(frozen=True, slots=True)
class Route:
    """Hosts to try, in order. `key` names the destination: equal for domains that share a set of mail exchangers."""

    hosts: tuple[str, ...]
    key: tuple[str, ...]


class Router:
    """Domains to routes to addresses. `own_names` and `own_addresses` are this pool's: mail never goes to them."""

    def __init__(
        self, resolver: Resolver, own_names: Collection[str], own_addresses: Collection[str], random: Random
    ) -> None:
        self.resolver = resolver
        self._own_names = frozenset(name.lower().removesuffix(".") for name in own_names)
        self._own_addresses = frozenset(own_addresses)
        self._random = random

    async def route(self, domain: str) -> Route:
        """Raises DnsTemporary or DnsPermanent."""
        if mx.literal_address(domain):
            return Route((domain,), (domain,))
        exchanges: tuple[Exchange, ...] = await self.resolver.mail_exchangers(domain)
        hosts = mx.order(domain, exchanges, self._own_names, self._random)
        return Route(hosts, tuple(sorted(hosts)))

    def remembered(self, domain: str) -> Route | None:
        """By what the resolver's memory holds at this moment; None: nobody has asked. Asks nobody. Raises DnsPermanent."""
        if mx.literal_address(domain):
            return Route((domain,), (domain,))
        exchanges = self.resolver.remembered(domain)
        if exchanges is None:
            return None
        hosts = mx.order(domain, exchanges, self._own_names, self._random)
        return Route(hosts, tuple(sorted(hosts)))

    async def addresses(self, host: str, family: int | None) -> tuple[str, ...]:
        """The host's addresses of IP version `family` (4, 6; None: both) that are not our own.

        Raises DnsTemporary, and DnsPermanent when the host has none at all: that is what a mistyped domain looks like.
        """
        literal = mx.literal_address(host)
        found = (literal,) if literal else await self.resolver.addresses(host)
        if not found:
            raise DnsPermanent("5.4.4", f"the mail exchanger {host} has no address")
        usable = tuple(each for each in found if family is None or ipaddress.ip_address(each).version == family)
        if not usable:
            raise DnsTemporary(f"{host} has no IPv{family} address, and this source has no other", status=OTHER_FAMILY)
        others = tuple(each for each in usable if each not in self._own_addresses)
        if not others:
            raise DnsPermanent("5.4.6", f"the mail exchanger {host} is this relay: the mail would loop")
        return others
