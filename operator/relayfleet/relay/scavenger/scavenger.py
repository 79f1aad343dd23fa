"""Where a relay yields to others: new mail waits for a place in the window, and the hands are as many as the window's share of them.

New mail alone waits. What ends work already accepted never does: retries' copies, reports, claims, outcomes and what goes back; and probes are nobody's mail.
A relay of a Transactional pool has one that lets everything pass.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from relayfleet.relay.scavenger.window import Way, Window
from relayfleet.relay.spool.rabbitmq.lane import BYTES_A_SECOND

TURN_SECONDS = 2.0
"""For which a client waits for a place, on top of what the queue may take. Far below the ten minutes of RFC 5321, since some programs wait for five seconds only: a client that has gone sends its mail
once more."""


def _stays() -> bool:
    return False


class Scavenger:
    """Of one relay. `bulk`: whether it yields. `clock` does not jump, in seconds; `wall` gives Unix seconds."""

    def __init__(
        self,
        bulk: bool = False,
        *,
        turn_seconds: float = TURN_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.bulk = bulk
        self.window = Window()
        self.waited_seconds = 0.0
        self.in_flight = 0
        self._turn_seconds, self._clock, self._wall = turn_seconds, clock, wall
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._heard: Callable[[float], None] = lambda share: None

    @property
    def share(self) -> float:
        """Of the hands."""
        return self.window.share if self.bulk else 1.0

    def listen(self, heard: Callable[[float], None]) -> None:
        """`heard` gets the share of the hands, now and when it changes."""
        self._heard = heard
        heard(self.share)

    def use(self, bulk: bool) -> None:
        """The pool is of this class from now on. What is known of the brokers is learnt anew."""
        if bulk != self.bulk:
            self.bulk, self.window = bulk, Window()
            self._heard(self.share)
            self._let_in()

    async def enter(self, gone: Callable[[], bool] = _stays) -> bool:
        """Wait for a place, in turn; whether one was had in time. Then `leave` must follow. `gone`: whoever waited is not there any more, and has none."""
        self._let_in()
        if not self._waiting and self._has_place():
            self.in_flight += 1
            return True
        return await self._turn(gone)

    def leave(self) -> None:
        """The place is free again."""
        self.in_flight -= 1
        self._let_in()

    def now(self) -> float:
        """By the clock that `began` is of."""
        return self._clock()

    def confirmed(self, way: Way, began: float, size: int = 0) -> None:
        """So many bytes, sent at `began`, are stored."""
        if self.bulk:
            before = int(self.window.size)
            self.window.confirmed(way, began, self._clock(), size / BYTES_A_SECOND)
            self._tell(before)

    def failed(self, began: float) -> None:
        """What was sent at `began` was not confirmed."""
        if self.bulk:
            before = int(self.window.size)
            self.window.failed(began, self._clock())
            self._tell(before)

    def _tell(self, before: int) -> None:
        if int(self.window.size) != before:
            self._heard(self.share)
            self._let_in()

    def _has_place(self) -> bool:
        return not self.bulk or self.in_flight < self.window.places(self._wall())

    def _let_in(self) -> None:
        while self._waiting and self._has_place():
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self.in_flight += 1

    async def _turn(self, gone: Callable[[], bool]) -> bool:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        began, granted = self._clock(), False
        try:
            await asyncio.wait([waiter], timeout=self._turn_seconds)
            granted = waiter.done() and not gone()
        finally:
            self.waited_seconds += self._clock() - began
            if not granted:
                self._give_up(waiter)
        return granted

    def _give_up(self, waiter: asyncio.Future[None]) -> None:
        if waiter.done():  # its turn came, and nobody was there
            self.leave()
        else:
            waiter.cancel()
