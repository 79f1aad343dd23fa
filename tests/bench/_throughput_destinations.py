"""The destinations of mail beside a slow provider, as the relay finds them: by MX records of a name server that the bench runs itself. Pure.

The slow one is a provider of the product's table, since a big one is the case in point, and has a lane of its own. So has one of the others; the
rest share lanes by the hash of their hosts, and none has the slow one's. Hosts have names under which the table knows providers, but they are on
loopback, and nobody but that name server is asked for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from relayfleet.relay.routing.providers import Providers
from relayfleet.relay.routing.resolver import Exchange
from tests.bench._throughput_tools import SINK

SLOW_ADDRESS = "127.0.0.3"
TTL = 86_400
"""Seconds, so that no answer of DNS is in a latency once there was one."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A domain with one MX host at one address."""

    domain: str
    host: str
    address: str = SINK

    @property
    def recipient(self) -> str:
        return f"to@{self.domain}"

    @property
    def lane(self) -> int:
        """The provider lane that the product's table gives it."""
        return Providers().lane(self.domain, (Exchange(10, self.host),))


SLOW = Destination("slow.bench.example", "mx.bench.protection.outlook.com", SLOW_ADDRESS)
OTHERS = (
    Destination("named.bench.example", "mx.bench.google.com"),
    Destination("first.bench.example", "mx.first.bench.example"),
    Destination("second.bench.example", "mx.second.bench.example"),
    Destination("third.bench.example", "mx.third.bench.example"),
)


def zone() -> dict[tuple[str, str], list[str]]:
    """What the name server knows: (name, type) → values."""
    records: dict[tuple[str, str], list[str]] = {}
    for each in (SLOW, *OTHERS):
        records[each.domain, "MX"] = [f"10 {each.host}."]
        records[each.host, "A"] = [each.address]
    return records
