"""Three real RabbitMQ nodes in containers, with TLS only, and the faults that tests do to them.

Addresses are fixed (198.19.200.11 to .13), so that a node keeps its own over a restart. Everything carries one label, by which leftovers
of an earlier run are removed. Waiting is done with our own client: a node is well when it takes a confirmed record into a queue that has
a member on every node.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path

from relayfleet.amqp.channel import Channel
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.dial import Address, Login, connect, tls_context
from relayfleet.amqp.errors import AmqpError
from relayfleet.amqp.publishing import PublishChannel
from relayfleet.children.rabbitmq.pod import ERLANG
from relayfleet.protocol.relay_config import Broker
from tests.relay.rabbitmq import certificates
from tests.testbed import baseimage, engine, images
from tests.testbed.shell import run, succeeds

LABEL = "relayfleet.test=rabbitmq"
NETWORK = "relayfleet-rabbitmq-test"
SUBNET = "198.19.200.0/24"
SERVER_NAME = "rabbitmq.test"
USERNAME, PASSWORD = "relay", "secret"
PORT = 5671
START_SECONDS = 90.0

CONFIGURATION = """
listeners.tcp = none
listeners.ssl.default = 5671
ssl_options.cacertfile = /tls/ca.crt
ssl_options.certfile = /tls/tls.crt
ssl_options.keyfile = /tls/tls.key
ssl_options.verify = verify_none
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = rabbit@rabbit-1
cluster_formation.classic_config.nodes.2 = rabbit@rabbit-2
cluster_formation.classic_config.nodes.3 = rabbit@rabbit-3
cluster_partition_handling = pause_minority
disk_free_limit.absolute = 50MB
default_user = relay
default_pass = secret
log.console = true
log.console.level = warning
"""
ADVANCED = "[{aten, [{poll_interval, 200}]}].\n"
START = """
rm -f ~/.erlang.cookie && echo relayfleet-test > ~/.erlang.cookie && chmod 400 ~/.erlang.cookie
exec rabbitmq-server
"""


class Cluster:
    """The three nodes, numbered 1 to 3."""

    nodes = (1, 2, 3)

    def __init__(self) -> None:
        self._by_raft = False
        self.folder = Path(tempfile.mkdtemp(prefix="relayfleet-rabbitmq-"))
        self.addresses = tuple(f"198.19.200.{10 + node}:{PORT}" for node in self.nodes)

    @property
    def ca_file(self) -> str:
        return str(self.folder / "tls" / "ca.crt")

    def broker(self, prefix: str, *, publish_timeout: float = 5.0, quota_bytes: int = 2 * 1024**3) -> Broker:
        """As the operator would render it: node 1 first."""
        return Broker(
            self.addresses,
            server_name=SERVER_NAME,
            queue_prefix=prefix,
            publish_timeout=publish_timeout,
            quota_bytes=quota_bytes,
        )

    def start(self) -> None:
        """Build what is missing and start the nodes; `healthy` waits for them."""
        image = _image()
        remove_leftovers()
        self._write_files()
        run("docker", "network", "create", "--label", LABEL, "--subnet", SUBNET, NETWORK)
        for node in self.nodes:
            self._run(node, image)

    def keep_metadata_by_raft(self) -> None:
        """As the operator has it in its own clusters: with Mnesia a node that was frozen for longer than the net tick loses sight of queues."""
        if not self._by_raft:
            self.control(1, "enable_feature_flag", "--opt-in", "khepri_db")
            self._by_raft = True

    def stop(self) -> None:
        """Remove everything."""
        remove_leftovers()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self, node: int) -> None:
        """SIGKILL: the kernel closes its connections."""
        run("docker", "kill", _name(node))

    def restart(self, node: int) -> None:
        """Start a killed node with its disk as it was."""
        run("docker", "start", _name(node))

    def freeze(self, node: int) -> None:
        """Stop all its processes where they are; its connections stay open and silent."""
        run("docker", "pause", _name(node))

    def thaw(self, node: int) -> None:
        """Let it go on."""
        run("docker", "unpause", _name(node))

    def leader(self, queue: str, ask: int) -> int:
        """The number of the node that leads the queue, as node `ask` knows it."""
        rows = self.control(ask, "list_queues", "--silent", "--no-table-headers", "name", "leader").splitlines()
        leaders = dict(row.split("\t") for row in rows)
        return int(leaders[queue].rpartition("-")[2])

    def messages(self, prefix: str) -> dict[str, int]:
        """Records in each queue of the pool, those that a relay holds included; empty queues are left out."""
        rows = self.control(1, "list_queues", "--silent", "--no-table-headers", "name", "messages").splitlines()
        counts = (row.split("\t") for row in rows)
        return {name: int(count) for name, count in counts if name.startswith(prefix) and count != "0"}

    async def emptied(self, prefix: str) -> None:
        """Wait until nothing is left in the pool's queues."""
        deadline = time.monotonic() + 30
        while left := await asyncio.to_thread(self.messages, prefix):
            assert time.monotonic() < deadline, f"still there: {left}"
            await asyncio.sleep(0.1)

    def control(self, node: int, *words: str) -> str:
        """rabbitmqctl on a node."""
        return run("docker", "exec", _name(node), "rabbitmqctl", *words)

    def mend(self) -> None:
        """Thaw and restart whatever a test left frozen or dead."""
        states = run("docker", "inspect", "-f", "{{.State.Status}}", *map(_name, self.nodes)).split()
        for node, state in zip(self.nodes, states, strict=True):
            if state == "paused":
                self.thaw(node)
            elif state != "running":
                self.restart(node)

    async def healthy(self) -> None:
        """Wait until every node takes a record into a queue with three members."""
        await asyncio.gather(*map(self._well, self.nodes))

    async def connect(self, node: int) -> Connection:
        """A connection to one node. Raises ConnectError."""
        address = Address.parse(self.addresses[node - 1])
        tls = tls_context(self.ca_file)
        return await connect(address, Login(USERNAME, PASSWORD), 3, tls=tls, server_name=SERVER_NAME)

    async def look(self, queue: str, node: int = 1) -> int:
        """Records that are ready in a queue, as a node knows it. Raises NotFound."""
        connection = await self.connect(node)
        try:
            return (await (await Channel.open(connection, 5)).declare(queue, 5, passive=True)).messages
        finally:
            await connection.close()

    async def _well(self, node: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (failure := await self._try(node)) is not None:
            if time.monotonic() > deadline:
                logs = run("sh", "-c", f"docker logs --tail 30 {_name(node)} 2>&1")
                raise AssertionError(f"node {node} is not well: {failure}\n{logs}")
            await asyncio.sleep(0.3)

    async def _try(self, node: int) -> Exception | None:
        try:
            connection = await self.connect(node)
        except AmqpError as error:
            return error
        try:
            channel = await PublishChannel.open(connection, 3)
            queue = f"health-{os.urandom(4).hex()}"
            arguments = {"x-queue-type": "quorum", "x-quorum-initial-group-size": 3}
            await channel.declare(queue, 5, arguments=arguments)
            async with asyncio.timeout(3):
                await channel.publish(queue, b"", "").stored
            await channel.delete(queue, 5)
        except (AmqpError, TimeoutError) as error:
            return error
        finally:
            await connection.close()
        return None

    def _write_files(self) -> None:
        certificates.write(self.folder / "tls", [SERVER_NAME], [each.rpartition(":")[0] for each in self.addresses])
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION)
        (self.folder / "advanced.config").write_text(ADVANCED)
        for each in (self.folder, *self.folder.rglob("*")):
            each.chmod(0o755 if each.is_dir() else 0o644)

    def _run(self, node: int, image: str) -> None:
        address = self.addresses[node - 1].rpartition(":")[0]
        files = (("rabbitmq.conf", "/etc/rabbitmq/rabbitmq.conf"), ("advanced.config", "/etc/rabbitmq/advanced.config"))
        mounts = [
            word for name, place in (*files, ("tls", "/tls")) for word in ("-v", f"{self.folder / name}:{place}:ro")
        ]
        run(
            "docker", "run", "-d", "--label", LABEL, "--name", _name(node), "--hostname", f"rabbit-{node}",
            "--network", NETWORK, "--ip", address, "--network-alias", f"rabbit-{node}", *mounts,
            "-e", f"RABBITMQ_NODENAME=rabbit@rabbit-{node}",
            "-e", f"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2 {ERLANG}",
            "--entrypoint", "sh", image, "-c", START,
        )  # fmt: skip


def remove_leftovers() -> None:
    """Containers, their volumes and the network of this run or an earlier one."""
    found = run("docker", "ps", "-aq", "--filter", f"label={LABEL}").split()
    if found:
        run("docker", "rm", "-f", "-v", *found)
    if succeeds("docker", "network", "inspect", NETWORK):
        run("docker", "network", "rm", NETWORK)


def _name(node: int) -> str:
    return f"relayfleet-rabbitmq-test-{node}"


def _image() -> str:
    engine.ensure()
    baseimage.ensure(engine.can_pull())
    return images.build("rabbitmq")
