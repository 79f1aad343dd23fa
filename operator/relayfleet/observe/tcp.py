"""Can a TCP connection be made? The plainest thing that can be seen of a server."""

from __future__ import annotations

import asyncio
import contextlib


async def why_not(host: str, port: int, timeout: float) -> str:
    """Connect within `timeout` seconds and close; returns why that did not work, empty when it did."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except OSError as error:
        return error.strerror or str(error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""
