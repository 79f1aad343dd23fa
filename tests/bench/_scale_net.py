"""Network of the scale benchmark, inside a namespace of its own: relays, broker and API server are addresses of this machine; every operator
has, as a pod has, a namespace of its own at the other end of a cable.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.testbed.shell import run

LOCAL = "198.18.0.0/17"
API = "198.18.127.1"
GATEWAY = "198.18.255.1"


def lay() -> None:
    """All addresses of the block answer here."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "route", "add", "local", LOCAL, "dev", "lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


async def cable(process: int, number: int) -> str:
    """Join the network of a process to this one; returns its address. It goes when the process ends."""
    return await asyncio.to_thread(_cable, process, number)


def _cable(process: int, number: int) -> str:
    here, address = f"operator{number}", f"198.18.255.{10 + number}"
    run("ip", "link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", str(process))
    run("ip", "address", "add", f"{GATEWAY}/32", "dev", here)
    run("ip", "link", "set", here, "up")
    run("ip", "route", "add", f"{address}/32", "dev", here)
    for words in (
        f"address add {address}/32 dev eth0",
        "link set eth0 up",
        "link set lo up",
        f"route add default via {GATEWAY} dev eth0 onlink",
    ):
        run("nsenter", f"--net=/proc/{process}/ns/net", "ip", *words.split())
    return address
