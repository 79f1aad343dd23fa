"""Which provider lane a record's recipients lead to: by a table of providers, else by a hash. No safety rests on it (`relay.spool.places`).

At acceptance nobody waits for DNS: what the resolver's memory holds is used, stale or not, and a domain that nobody has asked for goes by its
name. So one destination may at first be in two lanes. At delivery DNS is asked, as it has to be anyway.
"""

from __future__ import annotations

import asyncio
import tomllib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from relayfleet.relay.routing import mx
from relayfleet.relay.routing.errors import DnsError, DnsPermanent
from relayfleet.relay.routing.resolver import Exchange, Resolver
from relayfleet.relay.spool.places import NAMED, SHARED
from relayfleet.relay.spool.record import Recipient

PATIENCE = 1.0
"""Seconds that a record waits to be told its lane; its other recipients' domains may answer at once."""


class Providers:
    """The table. Pure. `names` are those of all lanes, by number."""

    def __init__(self, text: str | None = None) -> None:
        table: dict[str, dict[str, Any]] = tomllib.loads(
            text or (resources.files(__package__) / "providers.toml").read_text()
        )
        self._domains: dict[str, int] = {
            domain: each["lane"] for each in table.values() for domain in each.get("domains", ())
        }
        self._exchanges: dict[str, int] = {
            f".{suffix}": each["lane"] for each in table.values() for suffix in each["exchanges"]
        }
        named = {each["lane"]: name for name, each in table.items()}
        self.names = [named.get(lane, str(lane)) for lane in range(NAMED)]
        self.names += [f"shared-{lane}" for lane in range(SHARED)]

    def lane(self, domain: str, exchanges: Sequence[Exchange] | None) -> int:
        """The lane of a domain as DNS knows it; `exchanges` None: nobody has asked for them yet."""
        ranked = sorted((each.preference, each.host.lower()) for each in exchanges or () if each.host)
        hosts = [host for _, host in ranked] or [domain]
        if (found := self._domains.get(domain)) is not None or (found := self._of_host(hosts[0])) is not None:
            return found
        return NAMED + zlib.crc32(",".join(sorted(hosts)).encode()) % SHARED

    def _of_host(self, host: str) -> int | None:
        """By its whole name, then by what is left of it without the first label, and so on."""
        rest = f".{host}"
        while rest:
            if (found := self._exchanges.get(rest)) is not None:
                return found
            cut = rest.find(".", 1)
            rest = rest[cut:] if cut > 0 else ""
        return None


class LaneFinder:
    """Says to which lane a record goes whose recipients all lead to one, and None of any other."""

    def __init__(self, resolver: Resolver, providers: Providers) -> None:
        self._resolver = resolver
        self._providers = providers

    def at_once(self, recipients: Iterable[Recipient]) -> int | None:
        """By what is known at this moment."""
        try:
            domains = {mx.domain_of(each.address) for each in recipients}
        except DnsPermanent:
            return None
        return self._common({each: self._resolver.remembered(each) for each in domains})

    async def of(self, domains: Iterable[str]) -> int | None:
        """By DNS. None as well when that says nothing in good time: delivery finds out what it is."""
        try:
            async with asyncio.timeout(PATIENCE):
                return self._common({each: await self._exchanges(each) for each in domains})
        except (DnsError, TimeoutError):
            return None

    async def _exchanges(self, domain: str) -> Sequence[Exchange] | None:
        return None if domain.startswith("[") else await self._resolver.mail_exchangers(domain)

    def _common(self, domains: Mapping[str, Sequence[Exchange] | None]) -> int | None:
        lanes = {self._providers.lane(*each) for each in domains.items()}
        return lanes.pop() if len(lanes) == 1 else None
