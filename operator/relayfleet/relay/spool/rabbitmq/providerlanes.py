"""Taking from provider lanes: a consumer for each, all on one channel of a connection of their own.

One channel, since a broker that closes the connection of a frozen relay waits up to 3 s for each; a connection of its own, so that lanes never stop
the front from being read. It goes to the node that leads the lanes, as long as that is there.

A full prefetch stops the broker without a word: what a slow provider leaves waits in its queue, and the other consumers go on. A prefetch follows the
size of the lane's records, so that all lanes together stay within the memory that is for them. It is fixed when a consumer begins, so another one is had
by ending the consumer and beginning a new one; what is under way then stays ours.

Lanes are made by a relay whose pool uses them. Where a pool does not, or not any more, those that exist are taken from all the same. Parked mail ends
in the same queue as what lies in lanes, so its queue is made here too; nobody consumes it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.consuming import ConsumeChannel, Consumer, Delivery
from relayfleet.amqp.errors import AmqpError
from relayfleet.relay.spool.places import LANED, LOOK, PARK
from relayfleet.relay.spool.rabbitmq.declaring import declare, exists
from relayfleet.relay.spool.rabbitmq.link import Link, Target
from relayfleet.relay.spool.rabbitmq.source import LANED_BYTES, Memory, Source
from relayfleet.relay.spool.rabbitmq.topology import LANES, LED_BY, Queue, Topology

DEADLINE = 5.0
PREFETCHES = (2, 8, 32, 128)
"""The largest is as many as hands are there for a lane (`hands.LANE_HANDS`)."""
UNKNOWN = 8
"""The prefetch of a lane of which no record was seen yet."""
FIT, KEPT = 1.0, 10.0
"""Seconds between two looks at the prefetches, and for which one that was changed is not raised again."""
SEEK, RETRY = 600.0, 10.0
"""Seconds between two looks for lanes that another relay, or an earlier life of the pool, has left, and after one that failed. Questions for the queue of
parked mail that cost the connection are asked again after `RETRY`, each time twice as many, and `SEEK` at most."""
_WEIGHT = 1 / 8

log = logging.getLogger(__name__)


def fitting(size: float) -> int:
    """The prefetch of a lane whose records have so many bytes, 0: not known."""
    share = LANED_BYTES / len(LANED)
    return max((each for each in PREFETCHES if each * size <= share), default=PREFETCHES[0]) if size else UNKNOWN


@dataclass(eq=False, slots=True)
class _Lane:
    """What is known of a lane: mean bytes of its records; its consumer, with which prefetch, and since when (monotonic)."""

    size: float = 0.0
    consumer: Consumer | None = None
    prefetch: int = 0
    since: float = float("-inf")

    def saw(self, size: int) -> None:
        self.size += (size - self.size) * (_WEIGHT if self.size else 1)

    def wants(self, now: float) -> int:
        """The prefetch that it should have, if that is another one, else 0."""
        wanted = fitting(self.size)
        if self.consumer is None or self.consumer.error is not None:
            return wanted
        raised = wanted > self.prefetch and self.prefetch != UNKNOWN and now - self.since < KEPT
        return 0 if wanted == self.prefetch or raised else wanted


class ProviderLanes:
    """`deliver` gets each delivery with its channel and where it came from."""

    def __init__(
        self, target: Target, topology: Topology, deliver: Callable[[ConsumeChannel, Delivery, Source], None]
    ) -> None:
        self._target, self._topology, self._deliver = target, topology, deliver
        self._link = Link(target, "consume lanes", LANES.index(LED_BY), self._prepare, self._lost)
        self._lanes = {each: _Lane() for each in LANED}
        self._channel: ConsumeChannel | None = None
        self._memory: Memory | None = None
        self._used = self._parks = False
        self._declared: frozenset[int] = frozenset()
        self._park_is_there = False
        self._parks_at = 0.0
        self._cuts = 0
        self._why_not_parking = ""
        self._taking = True
        self._there: tuple[int, ...] = ()
        self._changed = asyncio.Event()
        self._changing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def use(self, used: bool) -> None:
        """Whether the pool's mail goes to lanes, from now on."""
        if used == self._used:
            return
        self._used = used
        self._changed.set()
        if used and self._link.connection is not None and not self._declared.issuperset(LANED):
            self._link.begin_again("provider lanes are used from now on")

    def park(self, parks: bool) -> None:
        """Whether the pool's mail may be parked, from now on."""
        if parks == self._parks:
            return
        self._parks, self._parks_at = parks, 0.0
        self._changed.set()

    def doubt_parking(self) -> None:
        """Mail could not be parked. Nobody consumes that queue, so nobody is told when it is deleted: it is looked at again first."""
        self._declared, self._parks_at = self._declared - {PARK}, time.monotonic() + RETRY

    def is_gone(self, queue: str) -> None:
        """The broker says that one of `queues` does not exist. Who consumes one hears that too, which leaves parked mail."""
        if queue != self._topology.place(PARK):
            return
        log.warning("the broker knows no queue %s any more", queue)
        self._park_is_there = False
        self.doubt_parking()

    @property
    def usable(self) -> bool:
        """Whether mail may be put there: the pool wants it, and all queues are known to exist."""
        return self._used and self._declared.issuperset(LANED)

    @property
    def parks(self) -> bool:
        """Whether mail may be parked: the pool wants it, and the queue is known to exist."""
        return self._parks and PARK in self._declared

    @property
    def queues(self) -> list[str]:
        """Names of the queues that are known to exist. What is parked is counted until the broker says that its queue is gone, also where mail cannot be
        parked now, or is not any more: what was counted last would count for ever."""
        return [self._topology.place(each) for each in (*self._there, *([PARK] if self._park_is_there else []))]

    def start(self) -> None:
        """Begin, in the background."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="provider lanes")

    async def stop(self) -> None:
        """Close the connection; everything unsettled goes back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._link.stop()

    async def stop_taking(self) -> None:
        """No new records."""
        self._taking = False
        channel, memory = self._channel, self._memory
        if channel is None or memory is None or not channel.is_open:
            return
        async with self._changing:
            with suppress(AmqpError), memory.asking():
                await channel.cancel(DEADLINE)
            for each in self._lanes.values():
                each.consumer = None

    async def resume_taking(self) -> None:
        """New records again."""
        self._taking = True
        if self._channel is not None and self._channel.is_open:
            with suppress(AmqpError):
                await self._fit(self._channel)

    async def _run(self) -> None:
        self._changed.clear()
        while not (self._used or self._parks) and not (found := await self._are_left()):
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY if found is None else SEEK):
                    await self._changed.wait()  # what came while we looked counts too
            self._changed.clear()
        self._link.start()
        while True:
            await asyncio.sleep(FIT)
            channel = self._channel
            if channel is not None and channel.is_open:
                with suppress(AmqpError, OSError, ValueError):  # the channel is lost, and the link begins anew
                    await self._fit(channel)
                    await self._look_for_parking(channel.connection)

    async def _are_left(self) -> bool | None:
        """None: nobody said."""
        try:
            connection = await self._target.dial(self._target.address(LANES.index(LED_BY)), "look for lanes")
            try:
                return await exists(connection, self._topology.place(LOOK))
            finally:
                await connection.close()
        except (AmqpError, OSError, ValueError) as error:
            log.debug("provider lanes are looked for later: %s", error)
            return None

    async def _prepare(self, connection: Connection) -> ConsumeChannel:
        self._declared = frozenset()
        if self._used:
            await self._declare(connection, self._topology.provider_lanes())
            self._declared = frozenset(LANED)
        if self._parks and await self._can_park(connection):
            self._declared |= {LOOK, PARK}
        elif not self._park_is_there:
            await self._look_for_parked(connection)
        there = [each in self._declared or await exists(connection, self._topology.place(each)) for each in LANED]
        self._there = tuple(each for each, is_there in zip(LANED, there, strict=True) if is_there)
        channel = await ConsumeChannel.open(connection, DEADLINE)
        self._memory = Memory(connection)
        self._channel = channel
        await self._fit(channel)
        return channel

    async def _declare(self, connection: Connection, queues: list[Queue]) -> None:
        await declare(connection, queues, partial(self._target.dial_others, connection, "look"))

    async def _look_for_parking(self, connection: Connection) -> None:
        memory = self._memory
        if not self._parks or PARK in self._declared or memory is None:
            return
        with memory.asking():  # a relay that stands aside does not wait for this
            can_park = await self._can_park(connection)
        if can_park:
            self._declared |= {PARK}
        if can_park and LOOK not in self._there:
            self._link.begin_again("mail is parked from now on")

    async def _can_park(self, connection: Connection) -> bool:
        """Where the queue cannot be made now, since a node is away, lanes are taken from all the same, and mail is tried by its retries as without."""
        if time.monotonic() < self._parks_at:
            return False
        try:
            await self._declare(connection, self._topology.parking())
        except (AmqpError, OSError, ValueError) as error:
            self._put_off_parking(connection, str(error))
            return False
        if self._why_not_parking:
            log.info("mail is parked again")
        self._park_is_there, self._cuts, self._why_not_parking = True, 0, ""
        return True

    def _put_off_parking(self, connection: Connection, why: str) -> None:
        """A broker that cannot make a queue may close the connection for it, each time: the next ones are for lanes. One that restarts does so once."""
        self._cuts = 0 if connection.is_open else self._cuts + 1
        self._parks_at = time.monotonic() + min(RETRY * 2 ** min(max(self._cuts - 1, 0), 16), SEEK)
        if why != self._why_not_parking:
            log.warning("no mail is parked now: %s", why)
        self._why_not_parking = why

    async def _look_for_parked(self, connection: Connection) -> None:
        """What an earlier life of the pool, or another relay, has parked is counted as well. Lanes do not need the answer."""
        with suppress(AmqpError):
            self._park_is_there = await exists(connection, self._topology.place(PARK))

    def _lost(self) -> None:
        self._channel = self._memory = None
        self._there, self._declared = (), frozenset()  # what is there is looked at again
        for each in self._lanes.values():
            each.consumer = None

    async def _fit(self, channel: ConsumeChannel) -> None:
        """See that each lane has a consumer with the prefetch that fits. Raises AmqpError: the channel is lost."""
        async with self._changing:
            for place in self._there:
                lane = self._lanes[place]
                memory = self._memory
                if self._taking and channel.is_open and memory and (wanted := lane.wants(time.monotonic())):
                    with memory.asking():
                        await self._consume(channel, Source(place, memory), lane, wanted)

    async def _consume(self, channel: ConsumeChannel, source: Source, lane: _Lane, prefetch: int) -> None:
        ending, lane.consumer = lane.consumer, None
        if ending is not None:
            await ending.cancel(DEADLINE)
        lane.prefetch, lane.since = prefetch, time.monotonic()
        lane.consumer = await channel.consume(
            self._topology.place(source.place),
            prefetch,
            lambda delivery: self._came(channel, lane, source, delivery),
            DEADLINE,
            ended=self._ended,
            tag=f"lane/{source.place}",  # the same one again, so that prefetches of one lane do not add up
        )

    def _ended(self, error: AmqpError) -> None:
        """Somebody deleted a lane: no mail goes to lanes until all were looked at, and declared, anew."""
        self._there, self._declared = (), frozenset()
        self._link.begin_again(str(error))

    def _came(self, channel: ConsumeChannel, lane: _Lane, source: Source, delivery: Delivery) -> None:
        lane.saw(len(delivery.body))
        self._deliver(channel, delivery, source)


def by_place(counts: dict[str, int], topology: Topology) -> Iterable[tuple[int, int]]:
    """Records by lane, of those that were counted."""
    for each in LANED:
        if (count := counts.get(topology.place(each))) is not None:
            yield each, count
