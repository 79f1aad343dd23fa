"""An event loop whose clock jumps: when all wait, it is at once the time that the first of them waits for.

For what takes minutes and has no sockets. `loop.time()` is the only clock that jumps; code under test that asks another one sees no time go by.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _Jump(selectors.DefaultSelector):
    """Waits for nothing; `slept` is how long the loop would have waited, in seconds."""

    slept = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("all wait, and nothing will ever happen: somebody forgot to wake somebody")
            self.slept += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.slept


def in_virtual_time(work: Coroutine[Any, Any, _T]) -> _T:
    """Run it to its end, however long that would take."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(work)
