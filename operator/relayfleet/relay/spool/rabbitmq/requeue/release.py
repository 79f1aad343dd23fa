"""Parked mail whose destination answers again is moved to the ready queues by one relay of the pool, in visits, few at first (`ramp`).

What is not meant, or too much for this visit, goes back to its place, as in a visit to a rung, and comes to be looked at in its time. What is missed here is
tried then, so nothing is written down of what has been done.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Protocol

from relayfleet.amqp.errors import AmqpError
from relayfleet.protocol import requeuing
from relayfleet.relay.spool.interface import Hosts
from relayfleet.relay.spool.places import PARK
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.requeue.onereader import OneReader
from relayfleet.relay.spool.rabbitmq.requeue.plan import Visited
from relayfleet.relay.spool.rabbitmq.requeue.ramp import Ramp
from relayfleet.relay.spool.rabbitmq.requeue.visit import MOST_IN_HAND, Judged, Visit, Ways
from relayfleet.relay.spool.rabbitmq.topology import LED_BY, Lane, Topology
from relayfleet.relay.spool.record import Record

VISIT_SECONDS = 60.0
"""For which a visit may keep parked mail in its hands, which comes to be looked at later by that."""
PAUSE = 5.0
"""Seconds between two visits: what one has released shows meanwhile whether the destination takes it."""
FAULT_PAUSE, OTHERS_PAUSE, LOOK = 5.0, 20.0, 1.0

log = logging.getLogger(__name__)


class Releases(Protocol):
    """What is to be released."""

    def due(self) -> Mapping[Hosts, float]:
        """Destinations that answer again and have not failed since, and since when (any clock)."""
        ...

    def is_due(self, destination: Hosts) -> bool:
        """Whether this is one of them at this moment."""
        ...

    def of(self, record: Record) -> Hosts | None:
        """Where a record leads, None: not known now, or to several."""
        ...


class Releaser(OneReader):
    """`open_record` makes records of bodies, `move` stores one in a lane's ready queue, `may_work` tells whether this relay may, `has_room` whether the ready queues
    have. `released` counts mails, for metrics."""

    def __init__(
        self,
        target: Target,
        topology: Topology,
        open_record: Callable[[bytes, Callable[[], str]], Record],
        move: Callable[[Lane, bytes, str], Awaitable[None]],
        may_work: Callable[[], bool],
        has_room: Callable[[], bool],
    ) -> None:
        super().__init__(target, requeuing.release_name(topology.prefix), "release")
        self._queue = topology.place(PARK)
        self._open, self._move, self._may_work, self._has_room = open_record, move, may_work, has_room
        self._ramp = Ramp()
        self._releases: Releases | None = None
        self._why = ""
        self.released = 0

    def follow(self, releases: Releases) -> None:
        """Release what these say, from now on."""
        self._releases = releases

    async def _run(self) -> None:
        try:
            while True:  # noqa: ASYNC110 - what is due has no event
                await asyncio.sleep(await self._step())
        finally:
            await self._let_go()

    async def _step(self) -> float:
        """Do what is due; returns seconds until the next look."""
        if self._releases is None or not self._ramp.follow(self._releases.due()) or not self._may_work():
            await self._let_go()
            return LOOK
        if not self._has_room():
            return LOOK
        try:
            if not await self._has_the_name():
                return OTHERS_PAUSE * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            await self._visit(self._releases)
        except (AmqpError, OSError, ValueError) as error:
            if str(error) != self._why:
                log.warning("release: nothing is moved now: %s", error)
            self._why = str(error)
            self._turn += 1
            return FAULT_PAUSE
        except Exception:
            log.exception("release: a fault of ours")
            return OTHERS_PAUSE
        self._why = ""
        return PAUSE

    async def _visit(self, releases: Releases) -> None:
        self._ramp.begin()
        ways = Ways(self._open, self._judge(releases), self._move, self._goes_on, self._has_room, "released:")
        moved = Counter[str]()
        visit = Visit({self._queue: LED_BY}, ways, math.inf, moved)
        connection = await self._dial(0, "release")
        try:
            found = await visit.run({self._queue: connection}, VISIT_SECONDS)
        finally:
            self.released += moved.total()
            await connection.close()
        self._ramp.ended(whole=self._has_seen_all(found))
        if found.moved:
            log.info("release: of %d parked mails %d are tried now", found.looked, found.moved)

    def _has_seen_all(self, found: Visited) -> bool:
        """Whether another visit would see no more: also when so much other mail lies there that its hands were full, or nothing but its time was up. It was not
        when there was no room to go on, or it was not ours to go on."""
        full = found.looked - found.moved >= MOST_IN_HAND
        unhindered = self._may_work() and self._is_ours and self._has_room()
        return found.whole or full or (found.looked > 0 and not self._ramp.has_found and unhindered)

    def _judge(self, releases: Releases) -> Callable[[Record], Judged]:
        """There is one queue, so order is all that its lockstep needs: each is from before the next."""
        order = count()

        def judge(record: Record) -> Judged:
            number, destination = next(order), releases.of(record)
            meant = destination is not None and releases.is_due(destination) and self._ramp.takes(destination)
            why = f"{destination[0]} answers again" if meant and destination else ""
            return Judged(number + 1.0, number, why)

        return judge

    def _goes_on(self) -> bool:
        return self._may_work() and self._is_ours and self._ramp.has_left
