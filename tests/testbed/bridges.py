"""Bridges that an engine has left behind.

An engine whose data was moved, or deleted, knows nothing of its networks any more, but their bridges stay in the kernel until the next boot, with
their addresses and routes. A new network with the same addresses then has two bridges, and packets to its containers go to the one where nobody is.
"""

import ipaddress
import json
import os
import re
from dataclasses import dataclass

from . import settings
from .progress import say
from .shell import TestbedError, run

_NAME = re.compile(r"br-([0-9a-f]{12})")
"""What Docker calls the bridge of a network: by the first digits of its id."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """One that belongs to no network of the engine. `addresses` with the length of their prefix; `ports`: links that are plugged into it, so that somebody uses it."""

    name: str
    addresses: tuple[str, ...]
    ports: tuple[str, ...] = ()

    def cure(self) -> str:
        """What to do, in one sentence."""
        found = f"bridge {self.name} has {', '.join(self.addresses)} of the test bed's range and belongs to no network of this Docker Engine"
        if self.ports:
            return (
                f"{found}, but {', '.join(self.ports)} {'is' if len(self.ports) == 1 else 'are'} plugged into it: stop the containers of the "
                f"engine that made it, then run `ip link delete {self.name}` as root and this again"
            )
        return f"{found}: run `ip link delete {self.name}` as root and this again"


def clear() -> None:
    """Removes those that nobody uses. Raises TestbedError, with what to do, for one that somebody uses or that cannot be removed."""
    for bridge in found():
        if bridge.ports or os.geteuid() != 0:
            raise TestbedError(bridge.cure())
        try:
            run("ip", "link", "delete", bridge.name)
        except TestbedError as problem:
            raise TestbedError(f"{bridge.cure()} ({problem})") from None
        say(f"bridge {bridge.name} ({', '.join(bridge.addresses)}) was left by an engine that is gone: removed")


def found() -> list[Bridge]:
    """Those on this machine; none where the engine runs elsewhere, or where no `ip` tells."""
    if not os.environ.get("DOCKER_HOST", "unix:").startswith("unix:"):
        return []
    try:
        links = run("ip", "-j", "addr")
    except TestbedError:
        return []
    return stale(links, run("docker", "network", "ls", "--no-trunc", "--quiet"))


def stale(links: str, networks: str) -> list[Bridge]:
    """`links`: what `ip -j addr` prints; `networks`: the ids of all networks, a line each, whole."""
    seen = json.loads(links)
    owned = {line.strip()[:12] for line in networks.splitlines()}
    bridges = []
    for link in seen:
        named = _NAME.fullmatch(link.get("ifname", ""))
        addresses = [each for each in link.get("addr_info", []) if each["family"] == "inet"]
        if named and named[1] not in owned and addresses and all(_ours(each["local"]) for each in addresses):
            ports = sorted(each["ifname"] for each in seen if each.get("master") == link["ifname"])
            written = tuple(f"{each['local']}/{each['prefixlen']}" for each in addresses)
            bridges.append(Bridge(link["ifname"], written, tuple(ports)))
    return bridges


def _ours(address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(settings.RANGE)
