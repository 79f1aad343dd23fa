"""Three real brokers in containers, configured by the very files that the operator makes, and with its certificates and cookie.

So a wrong option, path or name shows here, without a Kubernetes cluster: only the kubelet's part is played by Docker.
"""

from __future__ import annotations

import datetime
import shutil
import tempfile
from pathlib import Path
from typing import Any

from relayfleet.act import authority
from relayfleet.act.broker import generate
from relayfleet.act.broker.management import Endpoint, Management
from relayfleet.amqp.connection import Connection
from relayfleet.amqp.dial import Address, Login, connect, tls_context
from relayfleet.api.meta import PodTemplate
from relayfleet.api.queuecluster import ManagedRabbitMQ
from relayfleet.children.rabbitmq import config, names, pod
from tests.testbed import baseimage, engine, images
from tests.testbed.shell import run, succeeds

NETWORK, PREFIX = "relayfleet-broker-test", "198.19.201"
"""Of the tests; who wants brokers beside them takes others."""

QUEUE: dict[str, Any] = {
    "apiVersion": "relayfleet.io/v1alpha1",
    "kind": "QueueCluster",
    "metadata": {"name": "mail", "namespace": "test", "uid": "0"},
}
BROKERS = range(3)


class Brokers:
    """`admin` is what the Secret would hold. `network` names network, label and containers, `prefix` is the first three bytes of addresses."""

    def __init__(self, network: str = NETWORK, prefix: str = PREFIX) -> None:
        self.network, self.prefix = network, prefix
        self.label = f"relayfleet.test={network}"
        self.folder = Path(tempfile.mkdtemp(prefix="relayfleet-broker-"))
        now = datetime.datetime.now(datetime.UTC)
        self.admin = generate.admin(names.base(QUEUE), names.ADMIN_USER, now)
        hosts = names.certificate_hosts(QUEUE)
        self.certificate = authority.new_certificate(self.admin["ca.crt"], self.admin["ca.key"], "mail", hosts, now)

    def start(self) -> None:
        """Start all three at once, as the StatefulSet does."""
        engine.ensure()
        baseimage.ensure(engine.can_pull())
        image = images.build("rabbitmq")
        self.remove_leftovers()
        self._write_files()
        run("docker", "network", "create", "--label", self.label, "--subnet", f"{self.prefix}.0/24", self.network)
        for number in BROKERS:
            self._run(number, image)

    def grow(self, number: int) -> None:
        """One more broker, with the list of nodes that a larger cluster gets."""
        text = config.rabbitmq_conf(QUEUE, ManagedRabbitMQ(replicas=5), PodTemplate())
        (self.folder / "config" / "rabbitmq.conf").write_text(text)
        self._run(number, images.build("rabbitmq"))

    def stop(self) -> None:
        """Remove everything."""
        self.remove_leftovers()
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Containers, their volumes and the network of this run or an earlier one."""
        found = run("docker", "ps", "-aq", "--filter", f"label={self.label}").split()
        if found:
            run("docker", "rm", "-f", "-v", *found)
        if succeeds("docker", "network", "inspect", self.network):
            run("docker", "network", "rm", self.network)

    def container(self, number: int) -> str:
        """The name of a broker's container."""
        return f"{self.network}-{number}"

    def address(self, number: int) -> str:
        """A broker's IP address; it keeps it."""
        return f"{self.prefix}.{10 + number}"

    def management(self, *numbers: int, password: str | None = None, ca: str | None = None) -> Management:
        """A client that asks these brokers, all of them by default, in this order."""
        endpoints = [self.endpoint(number) for number in numbers or BROKERS]
        return Management(endpoints, names.ADMIN_USER, password or self.admin["password"], ca or self.admin["ca.crt"])

    def endpoint(self, number: int) -> Endpoint:
        """Where a broker's management API is."""
        return Endpoint(self.address(number), names.host(QUEUE, number), names.MANAGEMENT)

    async def log_in(self, username: str, password: str, number: int = 0) -> Connection:
        """An AMQP connection over TLS, as a relay makes it. Raises AmqpError."""
        context = tls_context(str(self.folder / "tls" / "ca.crt"))
        address = Address(self.address(number), names.AMQPS)
        login = Login(username, password, names.VHOST)
        return await connect(address, login, 5, tls=context, server_name=names.host(QUEUE, number))

    def kill(self, number: int) -> None:
        """SIGKILL."""
        run("docker", "kill", self.container(number))

    def restart(self, number: int) -> None:
        """Start a killed broker with its disk as it was."""
        run("docker", "start", self.container(number))

    def lose_volume(self, number: int) -> None:
        """The broker dies with its disk and comes back with an empty one."""
        run("docker", "rm", "-f", "-v", self.container(number))
        self._run(number, images.build("rabbitmq"))

    def open_ports(self, number: int) -> set[int]:
        """TCP ports on which a broker listens for anybody."""
        lines = run("docker", "exec", self.container(number), "cat", "/proc/net/tcp", "/proc/net/tcp6").splitlines()
        sockets = [line.split() for line in lines if ":" in line]
        listening = [each[1] for each in sockets if each[3] == "0A" and not each[1].startswith("0100007F")]
        return {int(each.rsplit(":", 1)[1], 16) for each in listening} - _docker_dns(listening)

    def clear(self) -> None:
        """Remove all queues, with what is in them."""
        text = '[rabbit_amqqueue:delete(Each, false, false, <<"tests">>) || Each <- rabbit_amqqueue:list()].'
        run("docker", "exec", self.container(0), "rabbitmqctl", "eval", text)

    def logs(self, number: int) -> str:
        """What a broker said last."""
        return run("sh", "-c", f"docker logs --tail 30 {self.container(number)} 2>&1")

    def _write_files(self) -> None:
        files = config.config_map(QUEUE, ManagedRabbitMQ(), PodTemplate())["data"]
        certificate, key = self.certificate
        tls = {"ca.crt": self.admin["ca.crt"], "tls.crt": certificate, "tls.key": key}
        secrets = {"erlang-cookie": self.admin["erlang-cookie"]}
        for name, contents in (("config", files), ("tls", tls), ("secrets", secrets)):
            (self.folder / name).mkdir()
            for file, text in contents.items():
                (self.folder / name / file).write_text(text)
        for each in (self.folder, *self.folder.rglob("*")):
            each.chmod(0o755 if each.is_dir() else 0o644)

    def _run(self, number: int, image: str) -> None:
        folders = {"config": names.CONFIG, "tls": names.TLS, "secrets": names.SECRETS}
        mounts = [word for name, place in folders.items() for word in ("-v", f"{self.folder / name}:{place}:ro")]
        mounts += self._volume(number)
        host = f"{names.pod(QUEUE, number)}.{names.base(QUEUE)}.{QUEUE['metadata']['namespace']}"
        run(
            "docker", "run", "-d", "--label", self.label, "--name", self.container(number), "--network", self.network,
            "--ip", self.address(number), "--network-alias", host, *mounts, *self._environment(number),
            "--read-only", "--tmpfs", "/tmp", "--tmpfs", f"{names.HOME}:uid={names.UID}",
            "--tmpfs", f"/var/log/rabbitmq:uid={names.UID}", "--cap-drop", "ALL",
            "--user", f"{names.UID}:{names.UID}", "--entrypoint", "sh", image,
            "-c", f"{pod.SETUP}\nexec rabbitmq-server",
        )  # fmt: skip

    def _volume(self, number: int) -> list[str]:
        """Words of the engine for the broker's data; none: a volume that the engine makes."""
        return []

    def _environment(self, number: int) -> list[str]:
        """The container's variables, filled in as the kubelet would."""
        template = pod.pod_template(QUEUE, PodTemplate(), "")
        words = []
        for each in template["spec"]["containers"][0]["env"]:
            source = each.get("valueFrom", {})
            value = self.admin[source["secretKeyRef"]["key"]] if "secretKeyRef" in source else each.get("value")
            value = value if value is not None else names.pod(QUEUE, number)
            words += ["-e", f"{each['name']}={value.replace('$(POD_NAME)', names.pod(QUEUE, number))}"]
        return words


def _docker_dns(listening: list[str]) -> set[int]:
    """Docker's own resolver listens in the container too, on 127.0.0.11."""
    return {int(each.rsplit(":", 1)[1], 16) for each in listening if each.startswith("0B00007F")}
