"""The soak's traffic: records go straight into the pool's wait queues, come back by their time-to-live, are taken and wait again, as retries do.

Queues, publisher and consumer are the product's own; only who decides that a record waits is not, and the ladder is shorter. What is left out
is the journal and sealing, which do not touch these queues.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

from relayfleet.amqp.errors import AmqpError
from relayfleet.relay.control.tally import Tally
from relayfleet.relay.spool.interface import SpoolError, Successor
from relayfleet.relay.spool.rabbitmq import RabbitMQSpool
from relayfleet.relay.spool.rabbitmq.consumer import RabbitHeld
from relayfleet.relay.spool.rabbitmq.link import Target
from relayfleet.relay.spool.rabbitmq.publisher import Publisher
from relayfleet.relay.spool.rabbitmq.topology import LANES, Lane, Topology
from relayfleet.relay.spool.record import Recipient, Record, encode
from tests.bench import _soak_plan as plan
from tests.bench._soak_ledger import Ledger

IN_FLIGHT, WORKERS, PREFETCH = 300, 400, 200
"""Records that wait for their first confirm, and that are taken at once: as many as both lanes hand out."""

READY_SECONDS = 60.0
_PAUSE = 0.1


class Traffic:
    """One relay's worth of it. `failures`: what the publisher said when it could not store, by number."""

    def __init__(self, target: Target, made: plan.Plan, ledger: Ledger) -> None:
        broker = target.broker
        self.topology = Topology(broker.queue_prefix, broker.replicas, plan.LADDER)
        self.failures: Counter[str] = Counter()
        self._ledger = ledger
        self._text = (b"x" * 78 + b"\r\n") * (made.size // 80) + b"x" * (made.size % 80)
        self._publisher = Publisher(target, self.topology, Tally())
        self._spool = RabbitMQSpool(
            broker, target.credentials, target.ca_file, prefetch=PREFETCH, name="soak", ladder=plan.LADDER
        )
        self._late: Callable[[], bool] = _never

    @property
    def queues(self) -> int:
        """How many queues the pool has."""
        return sum(len(self.topology.queues(each)) for each in LANES)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connected, with all queues made, and taking what is ready. Raises TimeoutError."""
        self._publisher.start()
        self._spool.start()
        workers: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not self._are_all_up():  # noqa: ASYNC110 - links tell nobody outside
                    await asyncio.sleep(_PAUSE)
            workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
            yield
        finally:
            for each in workers:
                each.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._spool.close()
            await self._publisher.stop()

    async def put(self, numbers: range, seconds: float) -> None:
        """Put these records, as many as are stored within `seconds`."""
        began, before = time.monotonic(), self._ledger.put

        def late() -> bool:
            return plan.is_late(self._ledger.put - before, len(numbers), time.monotonic() - began, seconds)

        self._late = late
        queue = iter(numbers)
        await asyncio.gather(*(self._feed(queue, began + seconds) for _ in range(IN_FLIGHT)))

    async def drain(self, until: float) -> None:
        """Wait until every record has come to its end, or until a moment (monotonic)."""
        self._late = _never
        while self._ledger.under_way > 0 and time.monotonic() < until:  # noqa: ASYNC110 - four hundred workers end it
            await asyncio.sleep(_PAUSE)

    def _are_all_up(self) -> bool:
        return self._spool.ready and all(each.is_up for each in self._publisher.lanes.values())

    async def _feed(self, numbers: Iterator[int], until: float) -> None:
        for number in numbers:
            while self._ledger.under_way >= plan.MOST_WAITING and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(_PAUSE)
            if not await self._store(number, until):
                return

    async def _store(self, number: int, until: float) -> bool:
        """False: the time was over before it was confirmed."""
        record = Record(
            self._ledger.id(number), "from@soak.example", (Recipient("to@soak.example"),), self._text, time.time(), 1
        )
        lane: Lane = LANES[number % len(LANES)]
        while time.monotonic() < until:
            try:
                await self._publisher.store(self._first_wait, encode(record), record.key, lane)
            except SpoolError as error:
                self._note(error)
                await asyncio.sleep(_PAUSE)
            else:
                self._ledger.stored(number)
                return True
        return False

    def _first_wait(self, lane: Lane) -> str:
        return self.topology.wait(plan.delay(0), lane)

    async def _work(self) -> None:
        while True:
            held = await self._spool.take()
            try:
                await self._settle(held)
            except SpoolError as error:
                self._note(error)
                with suppress(AmqpError):
                    held.release()

    async def _settle(self, held: RabbitHeld) -> None:
        """Let it wait once more, or end it."""
        record, ledger = held.record, self._ledger
        number, hops = ledger.number(record.id), record.attempt
        if number is None:
            ledger.strange += 1
            await held.settle()
        elif plan.goes_on(number, hops, self._late()):
            await held.settle([Successor(dataclasses.replace(record, attempt=hops + 1), plan.delay(hops))])
            ledger.hops += 1
        else:
            await held.settle()
            ledger.hops += 1
            ledger.end(number)

    def _note(self, error: SpoolError) -> None:
        self.failures[f"{type(error).__name__}: {error}"[:200]] += 1


def _never() -> bool:
    """While nothing is put, no time for putting gets short."""
    return False
