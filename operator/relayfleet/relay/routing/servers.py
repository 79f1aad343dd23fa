"""Name servers: how their addresses are written, and those that the pod was given."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

Server = tuple[str, int]
"""IP address and port."""

RESOLV_CONF = Path("/etc/resolv.conf")


def parse_servers(texts: Sequence[str]) -> tuple[Server, ...]:
    """Addresses as `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`. Raises ValueError for anything else."""
    return tuple(_server(text) for text in texts)


def system_servers(path: Path = RESOLV_CONF) -> tuple[Server, ...]:
    """The `nameserver` lines of resolv.conf. Search domains are not used: mail domains are complete."""
    lines = (line.split() for line in path.read_text().splitlines())
    return parse_servers([words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"])


def servers_to_ask(named: Sequence[str]) -> tuple[Server, ...]:
    """Those that the configuration names, else the pod's own. Raises ValueError when there are none at all."""
    found = parse_servers(named) or system_servers()
    if not found:
        raise ValueError("no DNS resolver: name two in spec.resolvers of the RelayPool, or one in /etc/resolv.conf")
    return found


def written(server: Server) -> str:
    """`192.0.2.1:53` or `[2001:db8::1]:53`: how a server is named to people, in metrics and to the leader."""
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
