"""The brokers of the fault bench: three, configured by the operator's own files, beside those of the tests; and what is done to them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress

from relayfleet.act.broker.errors import BrokerError
from relayfleet.children.rabbitmq import names
from relayfleet.controllers import queuebrokers
from relayfleet.controllers.queuememory import QueueMemory
from relayfleet.decide.queue.facts import Brokers as Seen
from relayfleet.decide.queue.facts import Pod
from relayfleet.protocol.relay_config import Broker
from tests.bench._faults_disks import Disk
from tests.relay.broker.cluster import BROKERS, QUEUE, Brokers
from tests.testbed.bounded import fault
from tests.testbed.shell import TestbedError, run

NETWORK, PREFIX = "relayfleet-faults", "198.19.202"
POOL = "faults"
CLIENT = {"username": names.CLIENT_USER, "password": "of the relays"}
START_SECONDS = 120.0
LONGEST_STILL = 45.0
"""Seconds after which a broker that was stopped goes on whatever happens."""
_MOVE = """
{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)),
{Name, Leader} = amqqueue:get_pid(Q),
ra:transfer_leadership({Name, Leader}, {Name, '%s'}).
"""


class FaultBrokers(Brokers):
    """Numbers 0 to 2. `disks`: one for each, when faults are to hit these too."""

    def __init__(self, network: str = NETWORK, prefix: str = PREFIX, disks: Sequence[Disk] = ()) -> None:
        super().__init__(network, prefix)
        self.disks = disks

    @contextmanager
    def started(self, longest: float) -> Iterator[None]:
        """Running; after `longest` seconds they are removed whatever happens."""
        containers = " ".join(self.container(each) for each in BROKERS)
        undo = "; ".join([f"docker rm -f -v {containers}", *(each.gone for each in self.disks)])
        with fault(self.start, ("sh", "-c", undo), longest):
            yield

    def start(self) -> None:
        """With disks that are new."""
        for each in self.disks:
            each.make()
        super().start()

    def stop(self) -> None:
        """And the disks."""
        try:
            super().stop()
        finally:
            for each in self.disks:
                each.remove()

    def _volume(self, number: int) -> list[str]:
        return ["-v", f"{self.disks[number].data}:{names.DATA}"] if self.disks else []

    @property
    def gateway(self) -> str:
        """This machine as brokers and relays see it."""
        return f"{self.prefix}.1"

    @property
    def bridge(self) -> str:
        """The device that they all hang on."""
        return f"br-{run('docker', 'network', 'inspect', '-f', '{{.Id}}', self.network).strip()[:12]}"

    def as_told_to_relays(self) -> Broker:
        """As the operator renders it, with addresses in place of names."""
        service = names.certificate_hosts(QUEUE)[0]
        addresses = tuple(f"{self.address(number)}:{names.AMQPS}" for number in BROKERS)
        return Broker(addresses, server_name=service, queue_prefix=POOL)

    def process(self, number: int) -> int:
        """The container's first process, through which its network namespace is entered."""
        return int(run("docker", "inspect", "-f", "{{.State.Pid}}", self.container(number)))

    def stand_still(self, number: int) -> AbstractContextManager[None]:
        """All that runs in the container is stopped by signal. Not by the engine's pause, which fails where a thread is in a long fsync."""
        processes = run("docker", "top", self.container(number), "-eo", "pid").split()[1:]

        def stop() -> None:
            for each in processes:
                with suppress(ProcessLookupError):
                    os.kill(int(each), signal.SIGSTOP)

        return fault(stop, ("kill", "-CONT", *processes), LONGEST_STILL)

    def runs(self, number: int) -> bool:
        """Neither dead nor frozen."""
        return run("docker", "inspect", "-f", "{{.State.Status}}", self.container(number)).strip() == "running"

    def move_leader(self, queue: str, number: int) -> str:
        """Ask the queue's leader to hand over; the answer in Erlang's words."""
        try:
            expression = _MOVE % (queue, names.node(QUEUE, number))
            return run("docker", "exec", self.container(number), "rabbitmqctl", "eval", expression).strip()
        except TestbedError as error:
            return str(error)

    async def look(self) -> Seen | None:
        """What they say of themselves; None when nobody answers."""
        try:
            async with self.management() as management:
                return await queuebrokers.read(management)
        except (BrokerError, TimeoutError):
            return None

    async def leader(self, queue: str) -> int | None:
        """The number of the broker that leads a queue."""
        seen = await self.look()
        found = next((each for each in seen.queues if each.name == queue), None) if seen else None
        nodes = {names.node(QUEUE, number): number for number in BROKERS}
        return nodes.get(found.leader) if found else None

    async def well(self, seconds: float) -> bool:
        """Wait until all run and every queue has all its members; False when that takes longer."""
        deadline = time.monotonic() + seconds
        while not _whole(await self.look()):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.5)
        return True

    async def set_up(self) -> None:
        """Until they are one cluster with the relays' user, looked after by the operator's own code."""
        pods = [Pod(names.pod(QUEUE, number), names.node(QUEUE, number), ready=True) for number in BROKERS]
        endpoints = [self.endpoint(number) for number in BROKERS]
        if not await self.well(START_SECONDS):
            raise RuntimeError(f"the brokers do not come up:\n{self.logs(0)}")
        memory, deadline = QueueMemory(), time.monotonic() + START_SECONDS
        while (
            memory.brokers is None
        ):  # level-triggered, as in the operator: brokers that are just up refuse some things for a moment
            if time.monotonic() > deadline:
                raise RuntimeError(f"the brokers cannot be set up: {memory.unreachable}")
            await queuebrokers.look_after(endpoints, self.admin, CLIENT, pods, memory)
            await asyncio.sleep(0.5)


def _whole(seen: Seen | None) -> bool:
    if seen is None or len(seen.running) < len(BROKERS):
        return False
    return all(len(each.online) == len(BROKERS) for each in seen.queues if ".probe." not in each.name)
