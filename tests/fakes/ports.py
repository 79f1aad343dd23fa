"""Ports at which nobody listens. A port that was got from the system and closed again may be anybody's a moment later: tests run beside others.
These are below those that the system gives out, so that nobody gets one by chance."""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path

_GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")
_BELOW = 12_000


def unused(count: int = 1) -> list[int]:
    """So many different ports of 127.0.0.1."""
    first = int(_GIVEN_OUT.read_text().split()[0])
    if first <= 2 * 1024:
        raise RuntimeError(f"{_GIVEN_OUT} leaves no ports to tests: it begins at {first}")
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            port = max(first - _BELOW, 1024) + secrets.randbelow(min(_BELOW, first - 1024))
            sock = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                found.append(port)
    return found
