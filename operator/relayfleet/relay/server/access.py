"""Who may relay: clients that authenticated, and clients in an allowed network. Nobody else, or this would be an open relay."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Access:
    """The networks of one configuration. Raises ValueError for text that is no network."""

    def __init__(self, allowed_networks: Sequence[str], proxy_sources: Sequence[str]) -> None:
        self._allowed = tuple(ipaddress.ip_network(each, strict=False) for each in allowed_networks)
        self._proxies = tuple(ipaddress.ip_network(each, strict=False) for each in proxy_sources)

    def may_relay(self, client: Address | None) -> bool:
        """Whether this client may send without AUTH. None, a client without an address, may not."""
        return client is not None and _inside(client, self._allowed)

    def is_proxy(self, peer: Address | None) -> bool:
        """Whether the peer must, and may, say the client's address by a PROXY header."""
        return peer is not None and _inside(peer, self._proxies)


def parse_peer(text: str) -> Address:
    """The address of a socket's peer; IPv4 that came in on an IPv6 socket is IPv4 again. Raises ValueError."""
    return plain(ipaddress.ip_address(text.partition("%")[0]))


def plain(address: Address) -> Address:
    """IPv4 addresses mapped into IPv6 (::ffff:192.0.2.1) as IPv4, so that they match IPv4 networks."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _inside(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
