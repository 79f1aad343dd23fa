"""The soak's brokers: three, configured by the operator's own files, on a network of their own; and what each of them holds."""

from __future__ import annotations

import asyncio
import dataclasses

from relayfleet.act.broker.errors import BrokerError
from relayfleet.children.rabbitmq import names, sizes
from relayfleet.controllers import queuebrokers
from relayfleet.relay.spool.rabbitmq.link import Target
from tests.bench._faults_brokers import CLIENT, FaultBrokers
from tests.bench._soak_disk import Usage, command, parse
from tests.relay.broker.cluster import BROKERS
from tests.testbed.shell import TestbedError, run

NETWORK, PREFIX, POOL = "relayfleet-soak", "198.19.204", "soak"
PUBLISH_SECONDS = 30.0
QUOTA_BYTES = 64 * 1024**3
"""No limit for the bench: what waits is bounded by number."""

COUNTING_SECONDS, LOOK_SECONDS, TRIES = 30.0, 20.0, 3
LOG_BYTES = sizes.write_ahead_log(sizes.memory_limit(sizes.resources({})))
"""After which these brokers roll the log of all queues over: their memory is the default."""


class SoakBrokers(FaultBrokers):
    """Numbers 0 to 2."""

    def __init__(self) -> None:
        super().__init__(NETWORK, PREFIX)

    def target(self) -> Target:
        """Where and as whom a relay of the pool connects."""
        broker = dataclasses.replace(
            self.as_told_to_relays(), queue_prefix=POOL, quota_bytes=QUOTA_BYTES, publish_timeout=PUBLISH_SECONDS
        )
        return Target(broker, lambda: (CLIENT["username"], CLIENT["password"]), str(self.folder / "tls" / "ca.crt"))

    async def usage(self) -> list[Usage]:
        """Of each broker, in their order. A command in a container may fail on a busy machine, so it has some tries. Raises TestbedError, or
        ValueError when files are not listed."""
        return await asyncio.gather(*(self._usage(each) for each in BROKERS))

    async def _usage(self, number: int) -> Usage:
        words = ("docker", "exec", self.container(number), "sh", "-c", command(names.DATA))
        for left in reversed(range(TRIES)):
            try:
                return parse(await asyncio.to_thread(run, *words, timeout=LOOK_SECONDS))
            except (TestbedError, ValueError):
                if not left:
                    raise
            await asyncio.sleep(1)
        raise AssertionError("unreachable")

    async def version(self) -> str:
        """The version of RabbitMQ. Raises BrokerError."""
        async with self.management() as management:
            return await management.version()

    async def records(self) -> int | None:
        """Records in all queues; zero is proven by asking each for one. None: they did not count them for half a minute."""
        for _ in range(int(COUNTING_SECONDS)):
            try:
                async with self.management() as management:
                    counted = await queuebrokers.records(management)
            except (BrokerError, TimeoutError):
                counted = None
            if counted is not None:
                return counted
            await asyncio.sleep(1)
        return None
