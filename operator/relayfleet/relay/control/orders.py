"""Carrying out orders: the relay stands as the leader last said, until it drains, after which it takes no orders any more.

A leader that is gone for long has no orders left: without one the relay serves again, since the slices that nobody changes any more say who
gets traffic, and a relay that stood aside for ever could not be told otherwise.

The SMTP server turns in the same moment. The delivery has to speak with its broker, so it follows in the background, one change after the
other, and only the last one counts.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from relayfleet.protocol.telemetry import Order, Stand

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds without a leader after which its last order is over."""


class Intake(Protocol):
    """The SMTP server, as far as it can be ordered."""

    def serve(self, serves: bool) -> None:
        """False: 421 to new sessions and at the next command of open ones; True: as ever. Without effect on a drain."""


class Outlet(Protocol):
    """The delivery, as far as it can be ordered."""

    async def pause(self) -> None:
        """Take no records, hand back what nobody has begun."""

    async def resume(self) -> None:
        """Take records again."""


class Obedience:
    """`stand` is that of the last order; a relay begins by serving."""

    def __init__(self, intake: Intake, outlet: Outlet) -> None:
        self.stand = Stand.SERVE
        self._intake = intake
        self._outlet = outlet
        self._changed = asyncio.Event()

    def obey(self, order: Order) -> None:
        """An order that changes nothing does nothing."""
        if order.stand is self.stand:
            return
        self.stand = order.stand
        log.warning("ordered to %s: %s", order.stand.lower(), order.reason or "no reason given")
        self._intake.serve(order.stand is Stand.SERVE)
        self._changed.set()

    def look(self, unled: float) -> None:
        """`unled`: seconds for which no leader has been there."""
        if unled > PATIENCE:
            self.obey(Order(Stand.SERVE, f"no leader has been there for {unled:.0f} s"))

    async def run(self) -> None:
        """Let the delivery follow, until cancelled."""
        followed = Stand.SERVE
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self.stand is not followed:
                followed = self.stand
                await self._follow(followed)

    async def _follow(self, stand: Stand) -> None:
        try:
            await (self._outlet.resume() if stand is Stand.SERVE else self._outlet.pause())
        except Exception:
            log.exception("the delivery cannot follow the order to %s", stand.lower())
