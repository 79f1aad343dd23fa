"""Storing a record: publish, wait for the confirm, and go the other way in time.

A record goes to the better lane. When its confirm is overdue the same record goes to the other lane as well, and the first confirm counts;
the copy that this leaves behind is recognised by its key. A lane that fails outright (nack, return, lost connection) is replaced by the
other at once. With no lane left the record waits a little for one to come back, then the caller hears SpoolUnavailable.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from relayfleet.amqp.errors import AmqpError, PreconditionFailed, Returned
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.spool.interface import SpoolTooLarge, SpoolUnavailable
from relayfleet.relay.spool.rabbitmq.lane import OVERDUE, PublishLane
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane, Topology

RETURN_WAIT = 2.0
"""Seconds that a record waits for a lane to come back after all are lost."""

_WATCH = 0.2
_LIMIT = re.compile(r"larger than configured max size (\d+)")


@dataclass(slots=True)
class _Way:
    """A lane that has the record, and the broker (host:port) that it led to then. `late`: that was counted already."""

    lane: PublishLane
    broker: str
    late: bool = False


@dataclass(slots=True)
class _Attempt:
    """One record on its way: what is under way, what failed, and which lanes were not tried since."""

    queue: Callable[[Lane], str]
    body: bytes
    message_id: str
    expires: int | None
    ends_at: float
    excluded: frozenset[Lane] = frozenset()
    under_way: dict[asyncio.Future[None], _Way] = field(default_factory=dict)
    tried: set[Lane] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def left(self) -> float:
        """Seconds to the deadline."""
        return self.ends_at - time.monotonic()

    def is_moving(self) -> bool:
        """A lane that has it gets confirms: no reason to send it elsewhere, however long it waits for its turn."""
        return any(not each.lane.stalls() for each in self.under_way.values())


class Publisher:
    """Both lanes. `store` is safe to call from many tasks at once. `tally` hears of each confirm that came, or should have."""

    def __init__(self, target: Target, topology: Topology, tally: Tally) -> None:
        self._target = target
        self._tally = tally
        self._changed = asyncio.Event()
        self._size_max: int | None = None
        self._up_at = 0.0
        self._watch: asyncio.Task[None] | None = None
        self.lanes = {lane: PublishLane(lane, target, topology, self._lane_changed) for lane in LANES}

    def start(self) -> None:
        """Connect in the background."""
        for each in self.lanes.values():
            each.link.start()
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_lanes(), name="broker lanes")

    async def stop(self) -> None:
        """Close both connections."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None
        await asyncio.gather(*(each.link.stop() for each in self.lanes.values()))

    @property
    def why_not(self) -> str:
        """Why nothing can be stored now; empty when it can."""
        if any(each.is_up for each in self.lanes.values()):
            return ""
        return "; ".join(dict.fromkeys(each.why_not for each in self.lanes.values()))

    @property
    def blocked(self) -> str:
        """The broker's alarm in its words, empty when there is none."""
        return next((each.blocked for each in self.lanes.values() if each.blocked), "")

    def trusts(self, lane: Lane) -> bool:
        """Whether a record that can go to this lane alone may be given to it: it confirms in time, or is due for a trial."""
        return self.lanes[lane].rank(preferred=True) == 0

    async def store(
        self,
        queue: Callable[[Lane], str],
        body: bytes,
        message_id: str,
        prefer: Lane = "a",
        expires: int | None = None,
        *,
        only: bool = False,
    ) -> None:
        """Return when a majority has it on disk. `queue` names the lane's queue; `expires`: milliseconds until the broker drops it; `only`: it goes to the
        preferred lane or nowhere. Raises SpoolTooLarge or SpoolUnavailable."""
        if self._size_max is not None and len(body) > self._size_max:
            raise SpoolTooLarge(f"the record has {len(body)} bytes, the broker takes {self._size_max}")
        timeout = self._target.broker.publish_timeout
        excluded = frozenset(LANES) - {prefer} if only else frozenset()
        attempt = _Attempt(queue, body, message_id, expires, time.monotonic() + timeout, excluded)
        attempt.tried.update(excluded)
        while attempt.left() > 0:
            sent = not attempt.is_moving() and self._send_elsewhere(attempt, prefer)
            if not sent and not attempt.under_way:
                await self._wait_for_a_lane(attempt)
            elif await self._stored(attempt):
                return
        self._count_late(attempt)
        raise SpoolUnavailable(f"no confirm within {timeout:g} s{_words(attempt.failures)}")

    def _send_elsewhere(self, attempt: _Attempt, prefer: Lane) -> bool:
        """Whatever has the record already lets us wait."""
        self._count_late(attempt)
        return self._send(attempt, prefer)

    def _send(self, attempt: _Attempt, prefer: Lane) -> bool:
        """Give the record to the best lane that has not got it; False when there is none."""
        left = [each for each in self.lanes.values() if each.lane not in attempt.tried]
        lane = min(left, key=lambda each: each.rank(preferred=each.lane == prefer), default=None)
        if lane is None:
            return False
        if not lane.is_up:
            attempt.failures.append(lane.why_not)
            return False
        attempt.tried.add(lane.lane)
        try:
            publish = lane.send(attempt.queue(lane.lane), attempt.body, attempt.message_id, attempt.expires)
        except AmqpError as error:
            attempt.failures.append(str(error))
            return True
        attempt.under_way[publish.stored] = _Way(lane, lane.link.address)
        return True

    async def _stored(self, attempt: _Attempt) -> bool:
        """Wait until a confirm comes (True), or until it is time to do something else."""
        if not attempt.under_way:
            return False
        both = len(attempt.tried) == len(self.lanes)
        patience = attempt.left() if both else min(OVERDUE, attempt.left())
        done, _ = await asyncio.wait(attempt.under_way, timeout=max(patience, 0), return_when=asyncio.FIRST_COMPLETED)
        stored = False
        for each in done:
            way = attempt.under_way.pop(each)
            error = each.exception()
            stored = stored or error is None
            if not way.late and not isinstance(error, PreconditionFailed):
                self._tally.confirm(way.broker, error is None)
            if error is not None:
                self._note(attempt, way.lane, error)
        return stored

    def _count_late(self, attempt: _Attempt) -> None:
        for way in attempt.under_way.values():
            if not way.late:
                way.late = True
                self._tally.confirm(way.broker, False)

    def _note(self, attempt: _Attempt, lane: PublishLane, error: BaseException) -> None:
        attempt.failures.append(str(error))
        if isinstance(error, Returned):
            if attempt.excluded:  # a new connection of ours would not make that queue
                raise SpoolUnavailable(f"the broker cannot store{_words(attempt.failures)}")
            lane.link.begin_again("a queue is gone and is declared again")
        if not isinstance(error, PreconditionFailed) or not (found := _LIMIT.search(error.text)):
            return
        self._size_max = int(found[1])
        if len(attempt.body) > self._size_max:
            raise SpoolTooLarge(f"the record has {len(attempt.body)} bytes, the broker takes {self._size_max}")

    async def _wait_for_a_lane(self, attempt: _Attempt) -> None:
        patience = min(attempt.left(), self._up_at + RETURN_WAIT - time.monotonic())
        self._changed.clear()
        try:
            async with asyncio.timeout(max(patience, 0)):
                await self._changed.wait()
        except TimeoutError as error:
            self._count_unreachable()
            # A lane that has not tried yet says less than the one that was refused, so both are told.
            down = [each.why_not for each in self.lanes.values() if not each.is_up]
            raise SpoolUnavailable(f"the broker cannot store{_words(attempt.failures + down)}") from error
        attempt.tried = set(attempt.excluded)

    def _count_unreachable(self) -> None:
        for each in self.lanes.values():
            if each.link.address and each.link.why:
                self._tally.confirm(each.link.address, False)

    def _lane_changed(self) -> None:
        self._up_at = time.monotonic()
        self._changed.set()

    async def _watch_lanes(self) -> None:
        while True:
            await asyncio.sleep(_WATCH)
            for each in self.lanes.values():
                each.cut_if_frozen()
            if not self.why_not:
                self._up_at = time.monotonic()


def _words(failures: list[str]) -> str:
    return ": " + "; ".join(dict.fromkeys(failures)) if failures else ""
