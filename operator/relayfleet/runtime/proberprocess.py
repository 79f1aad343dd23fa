"""The prober beside the operator: a process of its own, since a thread would share the interpreter's lock with kopf and the lease.

Every replica has one, and it serves whoever leads (see `protocol.probing`). It is started again when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

from relayfleet.runtime.control import Identity

log = logging.getLogger(__name__)

_AGAIN = 1.0
_GONE = 2.0
"""Seconds for the kernel to end a process that is killed."""


async def keep(known: asyncio.Task[Identity]) -> None:
    """Keep it running until cancelled."""
    files = await asyncio.shield(known)
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "relayfleet",
            "prober",
            f"--certificate={files.certificate}",
            f"--key={files.key}",
            f"--authority={files.authority}",
        )
        try:
            status = await process.wait()
        finally:
            await _end(process)
        log.error("the prober has ended with exit status %d; it is started again", status)
        await asyncio.sleep(_AGAIN)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill it, and wait for it: an operator that begins anew stays the same process, and nobody else would ever ask for this child's status."""
    with contextlib.suppress(ProcessLookupError, TimeoutError):
        process.kill()
        async with asyncio.timeout(_GONE):
            await process.wait()
