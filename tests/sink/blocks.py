"""A long list of JSON lines in little memory: numbered, append-only, the oldest fall off, full blocks are compressed.

Two million records of mail take about a quarter of a GiB instead of 1.5. With a spill file every line also goes to disk, so that nothing
that fell off is gone.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from pathlib import Path

BLOCK = 500
"""Lines in a block: compressing one takes about 2 ms, which is how long the sink then does not answer."""


class Blocks:
    """`limit` lines at most (rounded up to a block) are kept."""

    def __init__(self, limit: int, spill: Path | None = None) -> None:
        self._limit = limit
        self._full: deque[tuple[int, bytes]] = deque()
        self._open: list[bytes] = []
        self._open_first = 0
        self._spill = spill.open("ab") if spill else None
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def next(self) -> int:
        """The number that the next line gets. Numbers are never used twice."""
        return self._open_first + len(self._open)

    @property
    def first(self) -> int:
        """The number of the oldest line that is kept."""
        return self._full[0][0] if self._full else self._open_first

    def append(self, line: bytes) -> None:
        """Add one line (without its line end)."""
        self._open.append(line)
        if len(self._open) >= BLOCK:
            self._close_block()
        if self._waiters:
            self._wake()

    def page(self, since: int, limit: int) -> tuple[list[bytes], int]:
        """Up to `limit` lines from number `since` on, and the number to go on with."""
        lines: list[bytes] = []
        since = max(since, self.first)
        for first, block in self._full:
            if since < first + BLOCK and len(lines) < limit:
                lines += zlib.decompress(block).split(b"\n")[max(since - first, 0) :]
        if len(lines) < limit:
            lines += self._open[max(since - self._open_first, 0) :]
        lines = lines[:limit]
        return lines, since + len(lines)

    def clear(self) -> None:
        """Forget all lines; the numbers go on."""
        self._spill_open()
        self._open_first = self.next
        self._full.clear()
        self._open = []

    def close(self) -> None:
        """Write what is left to the spill file."""
        self._spill_open()
        if self._spill:
            self._spill.close()

    async def wait(self, since: int, seconds: float) -> None:
        """Return as soon as there is a line with number `since` or higher, at the latest after `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.next <= since and (left := deadline - asyncio.get_running_loop().time()) > 0:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            await asyncio.wait((waiter,), timeout=left)
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _close_block(self) -> None:
        self._spill_open()
        self._full.append((self._open_first, zlib.compress(b"\n".join(self._open), 1)))
        self._open_first += len(self._open)
        self._open = []
        while len(self._full) * BLOCK > self._limit:
            self._full.popleft()

    def _spill_open(self) -> None:
        if self._spill and self._open:
            self._spill.write(b"\n".join(self._open) + b"\n")
