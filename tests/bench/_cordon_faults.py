"""The faults. Each hits one relay, is stamped when it sets in, undoes itself, and is over at the latest after a minute."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from relayfleet.children.relay import names
from tests.bench._cordon_child import inside
from tests.bench._cordon_pods import Pod, nft, node_process
from tests.bench._cordon_proxy import BEFORE
from tests.testbed.bounded import fault
from tests.testbed.network_faults import rules
from tests.testbed.shell import run

CRASH = ("sigkill", "sigstop", "drop", "refuse")
GRAY = ("mute", "451", "slow", "deaf")
BEHIND_PROXY = GRAY[:3]
"""`deaf`: packets that begin a connection are dropped, sessions that stand go on, as with a full connection table."""
TABLE = "cordon"
PORTS = range(names.listener_port(0, 0), names.listener_port(0, names.LANES))
LONGEST, READY_LONGEST = 60.0, 300.0
"""Seconds after which a fault is undone, and what only prepares for one: relays may take two minutes to be back in traffic before it."""

Strike = Callable[[], Awaitable[float]]
"""Lets the fault set in; CLOCK_MONOTONIC of the moment before."""


@asynccontextmanager
async def prepared(kind: str, pod: Pod) -> AsyncIterator[Strike]:
    """Everything that has to be there before the fault; at the end it is undone."""
    async with AsyncExitStack() as stack:
        if kind in BEHIND_PROXY:
            yield await stack.enter_async_context(_wrong(kind, pod))
        elif kind in ("drop", "refuse", "deaf"):
            yield lambda: _ruled(stack, kind, pod)
        else:
            yield lambda: _signalled(stack, kind, pod)


async def _signalled(stack: AsyncExitStack, kind: str, pod: Pod) -> float:
    began = time.monotonic()
    if kind == "sigkill":
        os.kill(pod.main, signal.SIGKILL)
    else:
        stop = fault(lambda: os.kill(pod.main, signal.SIGSTOP), ("kill", "-CONT", str(pod.main)), LONGEST)
        stack.enter_context(stop)
    return began


async def _ruled(stack: AsyncExitStack, kind: str, pod: Pod) -> float:
    texts = {
        "drop": rules(TABLE, ("in", "out"), (), (), "drop"),
        "refuse": rules(TABLE, ("in",), PORTS, (), "reset"),
        "deaf": _deafness(),
    }
    return await _table(stack, pod, texts[kind])


async def _table(stack: AsyncExitStack, pod: Pod, text: str, longest: float = LONGEST) -> float:
    command = nft(await asyncio.to_thread(node_process, pod.node), pod.holder)
    began = time.monotonic()
    apply = fault(lambda: run(*command, "-f", "-", stdin=text), (*command, "delete", "table", "ip", TABLE), longest)
    await asyncio.to_thread(stack.enter_context, apply)
    return began


@asynccontextmanager
async def _wrong(kind: str, pod: Pod) -> AsyncIterator[Strike]:
    """A proxy before the relay. Sessions from before it are reset, so that at the fault all go through it."""
    async with AsyncExitStack() as stack:
        arguments = (pod.address, str(PORTS[0]), str(PORTS[-1]))
        child = inside(pod.holder, "_cordon_proxy.py", *arguments, on_line=lambda _: None)
        proxy = await stack.enter_async_context(child)
        await proxy.answer()
        await _table(stack, pod, _redirection(), READY_LONGEST)

        async def strike() -> float:
            proxy.say(kind)
            return float(await proxy.answer())

        yield strike


def _deafness() -> str:
    return (
        f"table ip {TABLE} {{\n"
        "  chain arriving {\n    type filter hook input priority -300;\n"
        f"    iif != lo tcp dport {PORTS[0]}-{PORTS[-1]} tcp flags & (fin | syn | rst | ack) == syn drop\n  }}\n"
        "}"
    )


def _redirection() -> str:
    redirects = "\n".join(f"    iif != lo tcp dport {port} redirect to :{port + BEFORE}" for port in PORTS)
    return (
        f"table ip {TABLE} {{\n"
        f"  chain arriving {{\n    type nat hook prerouting priority dstnat;\n{redirects}\n  }}\n"
        "  chain before {\n    type filter hook input priority 0;\n"
        f"    iif != lo tcp dport {PORTS[0]}-{PORTS[-1]} reject with tcp reset\n  }}\n"
        "}"
    )
