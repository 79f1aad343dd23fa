"""Orders to try waiting mail now are followed by one relay of the pool, which reads each rung's queues alone (see `visit`).

Which one is decided by a name at the broker (`onereader`). Whoever has it keeps it until nothing is left to be done or it may not work. What has been done is nowhere
written down, since the records tell it themselves: what was put off before an order's moment has not been moved by it yet.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Protocol

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.errors import AmqpError
from relayfleet.protocol import requeuing
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.requeue.onereader import OneReader
from relayfleet.relay.spool.rabbitmq.requeue.plan import Plan, Visited, visit_seconds
from relayfleet.relay.spool.rabbitmq.requeue.times import may_be_tried_at, put_off_between
from relayfleet.relay.spool.rabbitmq.requeue.visit import BusyError, Judged, Visit, Ways
from relayfleet.relay.spool.rabbitmq.topology import Lane, Topology
from relayfleet.relay.spool.record import Record

FAULT_PAUSE = 5.0
OTHERS_PAUSE = 20.0
"""Seconds until a relay asks again for the name that another one has, and until one that has it looks whether it may still work."""
LOOK = 1.0
"""Seconds between two looks whether this relay may work, which has no event."""

log = logging.getLogger(__name__)


class Orders(Protocol):
    """What is to be tried now. Times are Unix seconds."""

    @property
    def moments(self) -> Collection[float]:
        """Of all orders: a record that was put off before it may be meant."""
        ...

    def requeued_by(self, record: Record, deferred: float, now: float) -> str:
        """Name of the order that means a record which waits since `deferred`; "": none does."""
        ...


class Requeuer(OneReader):
    """`open` makes records of bodies, `move` stores one in a lane's ready queue, `may_work` tells whether this relay may, `has_room` whether the ready queues
    have. `looked` and `moved` (by order) count mails, for metrics."""

    def __init__(
        self,
        target: Target,
        topology: Topology,
        open_record: Callable[[bytes, Callable[[], str]], Record],
        move: Callable[[Lane, bytes, str], Awaitable[None]],
        may_work: Callable[[], bool],
        has_room: Callable[[], bool],
    ) -> None:
        super().__init__(target, requeuing.name(topology.prefix), "requeue")
        self._topology = topology
        self._open, self._move, self._may_work, self._has_room = open_record, move, may_work, has_room
        self._plan = Plan(topology.ladder)
        self._orders: Orders | None = None
        self._changed = asyncio.Event()
        self._why = ""
        self.looked = 0
        self.moved: Counter[str] = Counter()

    def follow(self, orders: Orders) -> None:
        """These are the orders now; all that waits is looked through for them."""
        self._orders = orders
        self._plan.follow(orders.moments)
        self._changed.set()

    async def _run(self) -> None:
        try:
            while True:
                self._changed.clear()
                await self._nap(await self._step())
        finally:
            await self._let_go()

    async def _step(self) -> float:
        """Do what is due; returns seconds until the next look."""
        wait = self._plan.next_at(time.time()) - time.time()
        if wait == math.inf or not self._may_work():
            await self._let_go()
            return wait if wait == math.inf else LOOK
        if wait > 0:
            return min(wait, OTHERS_PAUSE)
        if not self._has_room():
            return LOOK
        try:
            if not await self._has_the_name():
                return OTHERS_PAUSE * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            await self._visit_next()
        except (AmqpError, OSError, ValueError) as error:
            if str(error) != self._why:
                log.warning("requeue: nothing is moved now: %s", error)
            self._why = str(error)
            self._turn += 1
            return FAULT_PAUSE
        except Exception:
            log.exception("requeue: a fault of ours")
            return OTHERS_PAUSE
        self._why = ""
        return 0.0

    async def _nap(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else max(seconds, 0.0)):
                await self._changed.wait()

    async def _visit_next(self) -> None:
        began = time.time()
        rung, orders = self._plan.due(began), self._orders
        if rung is None or orders is None:
            return
        found = None
        try:
            found = await self._visit(rung, orders, began)
        except BusyError as error:
            log.info("requeue: %s", error)
        finally:
            if self._goes_on():  # else it was cut short, and is due as before
                self._plan.visited(rung, began, time.time(), found)
        if found is not None and found.looked:
            some = "" if found.whole else "; what lies behind them is looked at later"
            log.info(
                "requeue: of %d mails that wait for %d s %d are tried now%s", found.looked, rung, found.moved, some
            )

    async def _visit(self, rung: int, orders: Orders, began: float) -> Visited:
        connections: dict[str, Connection] = {}
        queues = self._topology.waiting(rung)
        below = max((each for each in self._topology.ladder if each < rung), default=0)
        judge = partial(_judge, orders, rung, below, began)
        ways = Ways(self._open, judge, self._move, self._goes_on, self._has_room)
        visit = Visit(queues, ways, self._plan.limit(began), self.moved)
        try:
            for number, (queue, lane) in enumerate(queues.items()):
                connections[queue] = await self._dial(number, f"requeue {lane}")
            return await visit.run(connections, visit_seconds(rung))
        finally:
            self.looked += visit.looked
            await asyncio.gather(*(each.close() for each in connections.values()))

    def _goes_on(self) -> bool:
        """New orders end a visit as well: another one begins at once."""
        return self._may_work() and self._is_ours and not self._changed.is_set()


def _judge(orders: Orders, rung: int, below: int, began: float, record: Record) -> Judged:
    """By the orders and the clock as they were when the visit began: a copy that is read a second later than its twin must not be judged otherwise."""
    earliest, latest = put_off_between(record, rung, below)
    if began < may_be_tried_at(record, latest):
        return Judged(earliest, latest, "")
    return Judged(earliest, latest, orders.requeued_by(record, latest, began))
