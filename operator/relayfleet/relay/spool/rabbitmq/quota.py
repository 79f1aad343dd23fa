"""The pool's quota: our own watermark, well below the broker's alarm, so that the alarm never stops retries and reports.

AMQP tells how many records are ready in a queue, not how many bytes. So the estimate is: records in all queues of the pool, counted
about once a second, times the mean size of the records that this relay saw, plus what it stored since the last count. What other relays
store within that second is not in it; the quota leaves room for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from relayfleet.amqp.channel import Channel
from relayfleet.amqp.errors import AmqpError, NotFound
from relayfleet.relay.spool.rabbitmq.lane import PublishLane
from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane

INTERVAL = 1.0
TIMEOUT = 1.0
_WEIGHT = 1 / 64
_LOWER = 0.95
"""Full until the estimate falls below this part of the quota, so that the answer does not flicker."""


@dataclass(slots=True)
class Watermark:
    """The estimate. Pure."""

    quota_bytes: int
    mean_size: float = 0.0
    since_count: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    full: bool = False
    looks: int = 0

    def limit(self, quota_bytes: int) -> None:
        """The quota is another one from now on."""
        self.quota_bytes = quota_bytes
        self.full = False
        self._judge()

    def saw(self, size: int) -> None:
        """A record of that size passed, in either direction."""
        self.mean_size += (size - self.mean_size) * (_WEIGHT if self.mean_size else 1)

    def stored(self, size: int) -> None:
        """This relay stored a record."""
        self.saw(size)
        self.since_count += size
        self._judge()

    def counted(self, counts: dict[str, int]) -> None:
        """Fresh counts by queue; queues that could not be asked keep their last one."""
        self.counts.update(counts)
        self.looks += 1
        self.since_count = 0
        self._judge()

    def forget(self, queue: str) -> None:
        """It is gone, with what was in it."""
        self.counts.pop(queue, None)

    @property
    def estimate(self) -> int:
        """Bytes that wait in the pool's queues."""
        return int(sum(self.counts.values()) * self.mean_size) + self.since_count

    def _judge(self) -> None:
        self.full = self.estimate >= self.quota_bytes * (_LOWER if self.full else 1)


class Census:
    """Counts the lanes' queues in the background, on a channel of its own: a queue that does not answer holds up no publish. `more`: names of other queues
    that are known to exist, by lane; `gone` hears of one of these that does not."""

    def __init__(
        self,
        watermark: Watermark,
        lanes: dict[Lane, PublishLane],
        more: Callable[[Lane], Sequence[str]] = lambda lane: (),
        gone: Callable[[str], None] = lambda queue: None,
    ) -> None:
        self._watermark = watermark
        self._lanes = lanes
        self._more = more
        self._gone = gone
        self._channels: dict[Lane, Channel] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin counting."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="broker census")

    async def stop(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        while True:
            found = await asyncio.gather(*(self._count(lane) for lane in LANES))
            self._watermark.counted(dict(pair for counts in found for pair in counts))
            await asyncio.sleep(INTERVAL)

    async def _count(self, lane: Lane) -> Iterable[tuple[str, int]]:
        connection = self._lanes[lane].link.connection
        if connection is None or not self._lanes[lane].is_up:
            return ()
        try:
            channel = self._channels.get(lane)
            if channel is None or not channel.is_open:
                channel = self._channels[lane] = await Channel.open(connection, TIMEOUT)
            more = self._more(lane)
            names = (*self._lanes[lane].queues, *more)  # one that is missing closes the channel for all
            asked = (channel.declare(each, TIMEOUT, passive=True) for each in names)
            answers = await asyncio.gather(*asked, return_exceptions=True)
        except AmqpError:
            return ()
        self._note_gone(more, answers)
        return [
            (name, each.messages)
            for name, each in zip(names, answers, strict=True)
            if not isinstance(each, BaseException)
        ]

    def _note_gone(self, names: Iterable[str], answers: Iterable[object]) -> None:
        """All that were asked after the one that is missing have its error for an answer; it says which one that is."""
        said = "".join(each.text for each in answers if isinstance(each, NotFound))
        for each in names:
            if f"no queue '{each}'" in said:
                self._watermark.forget(each)
                self._gone(each)
