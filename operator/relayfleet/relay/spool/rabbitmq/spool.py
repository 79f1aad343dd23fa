"""The pool's queue on RabbitMQ: publisher, consumer and quota behind the one interface of the relay."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence

from relayfleet.protocol.relay_config import Broker
from relayfleet.protocol.sealing import QUARANTINE
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.spool.interface import SpoolError, SpoolFull, Successor
from relayfleet.relay.spool.places import FRONT, PARK
from relayfleet.relay.spool.rabbitmq.consumer import Consumer, RabbitHeld
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.providerlanes import by_place
from relayfleet.relay.spool.rabbitmq.publisher import Publisher
from relayfleet.relay.spool.rabbitmq.quota import Census, Watermark
from relayfleet.relay.spool.rabbitmq.requeue import Orders, Releaser, Releases, Requeuer
from relayfleet.relay.spool.rabbitmq.topology import LADDER, LANES, LED_BY, Lane, Topology
from relayfleet.relay.spool.rabbitmq.ways import Ways
from relayfleet.relay.spool.record import Recipient, Record, share
from relayfleet.relay.spool.sealer import Sealer

MOST_READY = 1000
"""Records in the ready queues beyond which no waiting mail is added to them by order: new mail would stand behind it."""
MOST_RELEASED = 100
"""The same for parked mail: there may be any number of it, and it goes on as fast as it is delivered."""


class RabbitMQSpool:
    """Fits `interface.Spool`.

    `credentials` gives (username, password) and `ca_file` names the broker's CA; both are asked anew for each connection. `prefetch` bounds the
    records held by this relay, a lane. `name` is what the broker's operators see. `tally` hears of every confirm. `sealer` makes bytes of
    records and records of bytes; without one nothing is sealed. `lane_of` names the provider lane of a mail, None: it has none. `ladder` is the product's own except in tests.
    """

    def __init__(
        self,
        broker: Broker,
        credentials: Callable[[], tuple[str, str]],
        ca_file: str | None = None,
        *,
        prefetch: int = 200,
        name: str = "relayfleet",
        ladder: tuple[int, ...] = LADDER,
        tally: Tally | None = None,
        sealer: Sealer | None = None,
        lane_of: Callable[[Sequence[Recipient]], int | None] = lambda recipients: None,
    ) -> None:
        self._target = target = Target(broker, credentials, ca_file, name)
        self._topology = Topology(broker.queue_prefix, broker.replicas, ladder, balanced=len(broker.addresses) == 1)
        self._sealer = sealer or Sealer(None, broker.queue_prefix)
        self._watermark = Watermark(broker.quota_bytes)
        self._publisher = Publisher(target, self._topology, tally or Tally())
        self._lane_of = lane_of
        self._consumer = Consumer(
            target,
            self._topology,
            prefetch,
            Ways(self._sealer.open, self._succeed, self._put_off, self._put_in_quarantine, self._move),
            self._watermark.saw,
        )
        self._lanes = lanes = self._consumer.provider_lanes
        self._census = Census(
            self._watermark, self._publisher.lanes, lambda lane: lanes.queues if lane == LED_BY else (), lanes.is_gone
        )
        self.requeuer = Requeuer(
            target, self._topology, self._sealer.open, self._requeue, self._may_requeue, self._has_room
        )
        self.releaser = Releaser(
            target, self._topology, self._sealer.open, self._release, self._may_requeue, self._has_room_for_parked
        )
        self._released = self._counted = 0

    def start(self) -> None:
        """Connect in the background, for as long as it takes; `put` raises SpoolUnavailable until then."""
        self._publisher.start()
        self._census.start()
        self.requeuer.start()
        self.releaser.start()

    def requeue(self, orders: Orders) -> None:
        """Try waiting mail now as these orders say, from now on and in place of those before."""
        self.requeuer.follow(orders)

    def release(self, releases: Releases) -> None:
        """Try parked mail again whose destination is one of these."""
        self.releaser.follow(releases)

    def park(self, parks: bool) -> None:
        """Whether mail may be parked, from now on."""
        self._lanes.park(parks)

    def use_lanes(self, used: bool) -> None:
        """Whether new mail goes to provider lanes, from now on; what lies there is taken in any case."""
        self._lanes.use(used)

    @property
    def uses_lanes(self) -> bool:
        """See `interface.Spool.uses_lanes`. Where their broker stands still, moves would only wait."""
        return self._lanes.usable and self._publisher.trusts(LED_BY)

    @property
    def parks(self) -> bool:
        """See `interface.Spool.parks`."""
        return self._lanes.parks and self._publisher.trusts(LED_BY)

    @property
    def parked(self) -> int:
        """Records that are parked, as they were counted last."""
        return self._watermark.counts.get(self._topology.place(PARK), 0)

    @property
    def puts_into_lanes(self) -> bool:
        """Whether new mail goes to provider lanes, as far as they take it in time."""
        return self._lanes.usable

    @property
    def laned(self) -> dict[int, int]:
        """Records in each provider lane, and of those to be looked at, as they were counted last."""
        return dict(by_place(self._watermark.counts, self._topology))

    def reconfigure(self, broker: Broker) -> None:
        """Take over addresses, quota and deadline. The queues' prefix is the pool's name and stays. Connections that stand are kept."""
        self._target.broker = broker
        self._watermark.limit(broker.quota_bytes)

    @property
    def ready(self) -> bool:
        """A record can be stored now, as far as is known."""
        return not self.why_not_ready

    @property
    def why_not_ready(self) -> str:
        """Why no record can be stored now, and what to look at; empty when one can."""
        return self._sealer.why_not or self._publisher.why_not or self._full()

    async def put(self, record: Record) -> None:
        """See `interface.Spool.put`."""
        if full := self._full():
            raise SpoolFull(full)
        body = self._sealer.seal(record)
        await self._store_new(record, body)
        self._watermark.stored(len(body))

    async def take(self, place: int = FRONT) -> RabbitHeld:
        """See `interface.Spool.take`."""
        return await self._consumer.take(place)

    async def stop_taking(self) -> None:
        """See `interface.Spool.stop_taking`."""
        await self._consumer.stop_taking()

    async def resume_taking(self) -> None:
        """See `interface.Spool.resume_taking`."""
        await self._consumer.resume_taking()

    async def close(self) -> None:
        """See `interface.Spool.close`."""
        await asyncio.gather(self.requeuer.stop(), self.releaser.stop())
        await self._consumer.close()
        await self._census.stop()
        await self._publisher.stop()

    def _may_requeue(self) -> bool:
        """Not while this relay stands aside, nor while the broker takes nothing."""
        return self._consumer.taking and not self._publisher.why_not and not self._publisher.blocked

    def _has_room(self) -> bool:
        return self._ready_records < MOST_READY

    def _has_room_for_parked(self) -> bool:
        """What was let go since the last count is not in that."""
        if self._counted != self._watermark.looks:
            self._counted, self._released = self._watermark.looks, 0
        return self._ready_records + self._released < MOST_RELEASED

    @property
    def _ready_records(self) -> int:
        return sum(self._watermark.counts.get(self._topology.ready(each), 0) for each in LANES)

    async def _release(self, lane: Lane, body: bytes, message_id: str) -> None:
        self._released += 1
        await self._requeue(lane, body, message_id)

    async def _requeue(self, lane: Lane, body: bytes, message_id: str) -> None:
        await self._publisher.store(self._topology.ready, body, message_id, lane)

    def _full(self) -> str:
        if self._watermark.full:
            estimate, quota = self._watermark.estimate >> 20, self._watermark.quota_bytes >> 20
            return f"the pool's quota is reached: about {estimate} MiB wait, {quota} MiB are allowed"
        if blocked := self._publisher.blocked:
            return (
                f"the broker takes no more records ({blocked}): give it more disk or memory, or lower the pool's quota"
            )
        return ""

    async def _succeed(self, successor: Successor) -> None:
        body, key = self._sealer.seal(successor.record), successor.record.key
        if successor.quarantine:
            await self._put_in_quarantine(body, key)
        elif successor.delay > 0:
            await self._wait(body, key, successor.delay, _lane(successor.record))
        else:
            await self._store_new(successor.record, body)

    async def _store_new(self, record: Record, body: bytes) -> None:
        """To be delivered now: into its provider's lane, or into a ready queue. What the lane does not take in time goes to the ready queue that the other
        node leads, over the other connection, as it does without lanes."""
        place = self._lane_of(record.recipients) if self._lanes.usable else None
        if place is None:
            await self._publisher.store(self._topology.ready, body, record.key)
            return

        def queue(lane: Lane) -> str:
            return self._topology.place(place) if lane == LED_BY else self._topology.ready(lane)

        await self._publisher.store(queue, body, record.key, LED_BY)

    async def _move(self, record: Record, place: int) -> None:
        """Into the lane, or among what is parked, and nowhere else: from the front to the front it would go round for as long as the lanes' broker stands still."""
        body, queue = self._sealer.seal(record), self._topology.place(place)
        try:
            await self._publisher.store(lambda _: queue, body, record.key, LED_BY, only=True)
        except SpoolError:
            if place == PARK:
                self._lanes.doubt_parking()
            raise

    async def _put_off(self, body: bytes, message_id: str, delay: float) -> None:
        """What cannot be opened now, as it came: nobody knows more of it than its key."""
        await self._wait(body, message_id, delay, _either(message_id))

    async def _wait(self, body: bytes, message_id: str, delay: float, lane: Lane) -> None:
        def queue(each: Lane) -> str:
            return self._topology.wait(delay, each, lane if self._publisher.lanes[each].keeps_copies else None)

        await self._publisher.store(queue, body, message_id, lane)

    async def _put_in_quarantine(self, body: bytes, message_id: str) -> None:
        """It expires there message by message: a queue's own arguments could not be changed where it exists."""
        expires = int(QUARANTINE * 1000)
        await self._publisher.store(lambda _: self._topology.quarantine, body, message_id, expires=expires)


def _lane(record: Record) -> Lane:
    """Lanes' rungs differ in length, so records go to one or the other, and copies of one to the same. What is held stays in one lane, since copies of it
    may have been looked at more or less often, and keeps one pace there."""
    return LANES[zlib.crc32(record.id.encode()) % len(LANES)] if record.is_held else _either(record.key)


def _either(key: str) -> Lane:
    return LANES[int(share(f"lane {key}") * len(LANES))]
