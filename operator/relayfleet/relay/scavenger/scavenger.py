"""Where a relay yields to others: new mail waits for a place in the window, and the hands are as many as the window's share of them.

New mail alone waits. What ends work already accepted never does: retries' copies, reports, claims, outcomes and what goes back; and probes are nobody's mail.
A relay of a Transactional pool has one that lets everything pass.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from relayfleet.relay.scavenger.window import IDLE, MOST, Way, Window, rest_left
from relayfleet.relay.spool.interface import BYTES_A_SECOND

TURN_SECONDS = 2.0
"""For which a client waits for a place, on top of what the queue may take. Far below the ten minutes of RFC 5321, since some programs wait for five seconds only: a client that has gone sends its mail
once more."""
MOST_WAITING = 4 * MOST
"""Clients that wait for a place: who comes later is put off at once. With a full window and half a second for a confirm, four windowfuls are served in `TURN_SECONDS`; longer lines would only hold memory, in vain."""

log = logging.getLogger(__name__)


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
        self._rest_ends: asyncio.TimerHandle | None = None
        self._left_at = float("-inf")
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
        if not self.in_flight and self._clock() - self._left_at > IDLE:
            self.window.idle()
        self._let_in()
        if not self._waiting and self._has_place():
            self.in_flight += 1
            return True
        return len(self._waiting) < MOST_WAITING and await self._turn(gone)

    def leave(self) -> None:
        """The place is free again."""
        self.in_flight -= 1
        self._left_at = self._clock()
        self._let_in()

    def now(self) -> float:
        """By the clock that `began` is of."""
        return self._clock()

    def confirmed(self, way: Way, began: float, size: int = 0) -> None:
        """So many bytes, sent at `began`, are stored. Raises nothing."""
        allowed, in_flight = size / BYTES_A_SECOND, self.in_flight
        self._judge(lambda now: self.window.confirmed(way, began, now, allowed, in_flight=in_flight))

    def failed(self, began: float) -> None:
        """What was sent at `began` was not confirmed. Raises nothing."""
        self._judge(lambda now: self.window.failed(began, now))

    def _judge(self, what: Callable[[float], None]) -> None:
        """Whoever tells has stored a mail and must say so: a fault of ours here is not his."""
        if not self.bulk:
            return
        try:
            before = int(self.window.hands)
            what(self._clock())
            if int(self.window.hands) != before:
                self._heard(self.share)
            self._let_in()
        except Exception:
            log.exception("the window: a fault of ours")

    def _has_place(self) -> bool:
        return not self.bulk or self.in_flight < self.window.places(self._wall())

    def _let_in(self) -> None:
        while self._waiting and self._has_place():
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self.in_flight += 1
        if self._waiting and self._rest_ends is None and (rest := rest_left(self._wall())):
            self._rest_ends = asyncio.get_running_loop().call_later(rest, self._rested)

    def _rested(self) -> None:
        """Nobody else wakes who waits for the end of a rest."""
        self._rest_ends = None
        self._let_in()

    async def _turn(self, gone: Callable[[], bool]) -> bool:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._let_in()
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
            self._waiting.remove(waiter)
