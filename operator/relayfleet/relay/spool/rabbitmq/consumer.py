"""Taking records: one consuming connection a lane and one for all provider lanes, a buffer between broker and delivery for each place, and what is held.

Consuming begins with the first `take`, so a relay that only takes mail in holds nothing. What was delivered and not yet taken is bounded:
by the prefetch in number, and in bytes by not reading from the connection. A lost connection means that the broker has handed all its
records to others: settling one of them raises SpoolUnavailable, unless a copy of it has come back to this very relay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from relayfleet.amqp.connection import Connection
from relayfleet.amqp.consuming import ConsumeChannel, Delivery
from relayfleet.amqp.errors import AmqpError
from relayfleet.relay.spool.interface import SpoolError, SpoolUnavailable, Successor
from relayfleet.relay.spool.places import FRONT, PLACES
from relayfleet.relay.spool.rabbitmq.copies import Copies
from relayfleet.relay.spool.rabbitmq.link import Link, Target
from relayfleet.relay.spool.rabbitmq.providerlanes import ProviderLanes
from relayfleet.relay.spool.rabbitmq.source import Source
from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane, Topology
from relayfleet.relay.spool.rabbitmq.ways import Ways
from relayfleet.relay.spool.record import Record, RecordError
from relayfleet.relay.spool.sealer import KeyMissingError

DEADLINE = 5.0
BUFFER_BYTES = 64 * 1024**2
_RETRY = 1.0

log = logging.getLogger(__name__)


class RabbitHeld:
    """A record that the broker counts as ours. Fits `interface.Held`."""

    def __init__(
        self,
        consumer: Consumer,
        channel: ConsumeChannel,
        delivery: Delivery,
        record: Record,
        source: Source | None = None,
    ) -> None:
        self._consumer = consumer
        self._channel = channel
        self._source = source or Source()
        self._counted = False
        self._tag = delivery.tag
        self.record = record
        self.size = len(delivery.body)
        self.redelivered = delivery.redelivered
        self.deliveries = 1 + int(delivery.headers.get("x-delivery-count", 0)) if delivery.redelivered else 1

    @property
    def place(self) -> int:
        """See `interface.Held.place`."""
        return self._source.place

    @property
    def addresses(self) -> frozenset[str]:
        """Of the recipients."""
        return frozenset(each.address for each in self.record.recipients)

    @property
    def is_ours(self) -> bool:
        """False when the broker has handed it to others."""
        return self._channel.is_open

    async def settle(self, successors: Sequence[Successor] = (), stored: Callable[[], None] = lambda: None) -> None:
        await self._consumer.settle(self, successors, stored)

    async def move(self, lane: int) -> None:
        await self._consumer.move(self, lane)

    def release(self) -> None:
        self._consumer.release(self)

    def came(self) -> None:
        """It is in memory until it is let go of or handed back."""
        self._counted = True
        self._source.came(self.size)

    def let_go(self) -> None:
        """Tell the broker that it is done. Raises AmqpError when it is not ours any more."""
        self._channel.ack(self._tag)
        self._gone()

    def hand_back(self) -> None:
        """Tell the broker to give it to somebody."""
        self._channel.nack(self._tag)
        self._gone()

    def _gone(self) -> None:
        if self._counted:
            self._counted = False
            self._source.gone(self.size)


class Consumer:
    """Both consuming lanes, and the provider lanes. `saw` hears the size of each record."""

    def __init__(
        self,
        target: Target,
        topology: Topology,
        prefetch: int,
        ways: Ways,
        saw: Callable[[int], None],
    ) -> None:
        self._topology = topology
        self._prefetch = prefetch
        self._ways = ways
        self._saw = saw
        self._taking = True
        self._buffers: dict[int, asyncio.Queue[RabbitHeld]] = {each: asyncio.Queue() for each in PLACES}
        self._buffered_bytes = 0
        self._copies: Copies[RabbitHeld] = Copies()
        self._channels: dict[Lane, ConsumeChannel] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self.provider_lanes = ProviderLanes(target, topology, self._deliver)
        self._links = {
            lane: Link(
                target,
                f"consume {lane}",
                LANES.index(lane),
                lambda connection, lane=lane: self._prepare(lane, connection),  # type: ignore[misc]
                lambda lane=lane: self._lost(lane),  # type: ignore[misc]
            )
            for lane in LANES
        }

    @property
    def taking(self) -> bool:
        """False after `stop_taking`."""
        return self._taking

    async def take(self, place: int = FRONT) -> RabbitHeld:
        """The next record of the place that is still ours; connects at the first call."""
        for each in self._links.values():
            each.start()
        self.provider_lanes.start()
        while True:
            held = await self._buffers[place].get()
            self._unbuffer(held)
            if held.is_ours:
                return held
            self._give_up(held)

    async def settle(
        self, held: RabbitHeld, successors: Sequence[Successor], stored: Callable[[], None] = lambda: None
    ) -> None:
        """See `interface.Held.settle`."""
        key = held.record.key
        if any(each.record.key == key for each in successors):
            raise ValueError(f"a successor of {key} has the same key: it would be taken for a copy and dropped")
        if successors:
            if not held.is_ours:
                self._give_up(held)
                raise SpoolUnavailable("the connection was lost and the record is with others: nothing was stored")
            await asyncio.gather(*map(self._ways.store, successors))
        stored()
        finished = self._copies.finish(key, held.addresses)
        dropped = [_dropped(each) for each in (held, *finished.dropped)]
        self._go_on(finished.following)
        if True not in dropped:
            raise SpoolUnavailable("the connection was lost and the record is with others")

    async def move(self, held: RabbitHeld, lane: int) -> None:
        """See `interface.Held.move`. A copy that is parked here takes its place, and is moved or tried in its turn."""
        if not held.is_ours:
            raise SpoolUnavailable("the connection was lost and the record is with others: it is not moved")
        await self._ways.move(held.record, lane)
        ours = _dropped(held)
        self._give_up(held)
        if not ours:
            raise SpoolUnavailable("the connection was lost and the record is with others, and in its lane")

    def release(self, held: RabbitHeld) -> None:
        """Hand it back to be taken by anyone."""
        held.hand_back()
        self._give_up(held)

    async def stop_taking(self) -> None:
        """No new records; those in the buffer go back to the broker."""
        self._taking = False
        # All at once: what still comes meanwhile is handed back, and each time that counts as a delivery.
        await asyncio.gather(self.provider_lanes.stop_taking(), *map(_end, tuple(self._channels.values())))
        for each in self._copies.unpark():
            each.hand_back()
        for buffer in self._buffers.values():
            while not buffer.empty():
                held = buffer.get_nowait()
                self._unbuffer(held)
                self.release(held)

    async def resume_taking(self) -> None:
        """New records again, from all lanes that are up; a lane that comes up consumes by itself."""
        if self._taking:
            return
        self._taking = True
        for lane, channel in tuple(self._channels.items()):
            # A drain may have begun meanwhile.
            if self._taking and channel.is_open:
                try:
                    await self._consume(lane, channel)
                except AmqpError as error:
                    log.info("consuming begins anew with the next connection: %s", error)
        if self._taking:
            await self.provider_lanes.resume_taking()

    async def close(self) -> None:
        """Close the connections; everything unsettled goes back."""
        for each in self._aside:
            each.cancel()
        await asyncio.gather(self.provider_lanes.stop(), *(each.stop() for each in self._links.values()))

    async def _prepare(self, lane: Lane, connection: Connection) -> ConsumeChannel:
        channel = await ConsumeChannel.open(connection, DEADLINE)
        self._channels[lane] = channel
        if self._taking:
            await self._consume(lane, channel)
        return channel

    async def _consume(self, lane: Lane, channel: ConsumeChannel) -> None:
        await channel.consume(
            self._topology.ready(lane), self._prefetch, lambda delivery: self._deliver(channel, delivery), DEADLINE
        )

    def _lost(self, lane: Lane) -> None:
        self._channels.pop(lane, None)

    def _deliver(self, channel: ConsumeChannel, delivery: Delivery, source: Source | None = None) -> None:
        try:
            record = self._ways.open(delivery.body, lambda: delivery.message_id)
        except RecordError as error:
            log.error("not a record, goes to quarantine: %s", error)
            self._put_aside(channel, delivery, self._ways.quarantine)
            return
        except KeyMissingError as missing:
            wait = missing.wait
            log.info("id=%s waits for %.0f s: %s", delivery.message_id, wait, missing)
            self._put_aside(channel, delivery, lambda body, message_id: self._ways.put_off(body, message_id, wait))
            return
        held = RabbitHeld(self, channel, delivery, record, source)
        self._saw(held.size)
        if not self._taking:
            held.hand_back()
            return
        held.came()
        if self._copies.is_finished(held.record.key, held.addresses):
            log.info("dropped a late copy of %s", held.record.key)
            _dropped(held)
        elif self._copies.begin(held.record.key, held.addresses, held):
            self._hand_out(held)

    def _hand_out(self, held: RabbitHeld) -> None:
        self._buffers[held.place].put_nowait(held)
        if held.place != FRONT:
            return
        self._buffered_bytes += held.size
        if self._buffered_bytes > BUFFER_BYTES:
            for each in self._channels.values():
                each.connection.pause_reading()

    def _unbuffer(self, held: RabbitHeld) -> None:
        if held.place != FRONT:
            return  # hands are free for it, or nearly so, at least half as many as its prefetch (`scavenger`): see `providerlanes` for what bounds those
        self._buffered_bytes -= held.size
        if self._buffered_bytes <= BUFFER_BYTES // 2:
            for each in self._channels.values():
                each.connection.resume_reading()

    def _give_up(self, held: RabbitHeld) -> None:
        """Not done: a parked copy that is still ours takes its place."""
        self._go_on(self._copies.give_up(held.record.key, held))

    def _go_on(self, following: RabbitHeld | None) -> None:
        while following is not None and not following.is_ours:
            following = self._copies.give_up(following.record.key, following)
        if following is not None:
            self._hand_out(following)

    def _put_aside(
        self, channel: ConsumeChannel, delivery: Delivery, way: Callable[[bytes, str], Awaitable[None]]
    ) -> None:
        task = asyncio.create_task(self._move(channel, delivery, way))
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _move(
        self, channel: ConsumeChannel, delivery: Delivery, way: Callable[[bytes, str], Awaitable[None]]
    ) -> None:
        """Store it elsewhere as it came, then let go of it here: first the one, then the other, so it may be there twice but never is lost."""
        while channel.is_open:
            try:
                await way(delivery.body, delivery.message_id)
            except SpoolError as error:
                log.warning("a record cannot be put aside: %s", error)
                await asyncio.sleep(_RETRY)
                continue
            if channel.is_open:
                channel.ack(delivery.tag)
            return


async def _end(channel: ConsumeChannel) -> None:
    """Consume no more."""
    channel.connection.resume_reading()
    if channel.is_open:
        try:
            await channel.cancel(DEADLINE)
        except AmqpError as error:
            log.info("consuming had ended already: %s", error)


def _dropped(held: RabbitHeld) -> bool:
    """Let go of a copy; False when it is not ours any more."""
    try:
        held.let_go()
    except AmqpError:
        return False
    return True
