"""Postfix's own client and sink, from the mail client's image of the test bed: the same two programs for everybody who is measured.

They run in containers on this machine's network, and mail goes over loopback only. The sink counts into a file, which is read here: how many
mails had come at which moment is all that is asked of it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import baseimage, engine, images
from tests.testbed.shell import run

LABEL = "relayfleet.test=throughput-tools"
SINK, SINK_PORT = "127.0.0.2", 2529
"""Another loopback address than that of the servers, for whom their own address would be themselves."""
RECIPIENT, SENDER_DOMAIN = f"to@[{SINK}]", "bench.example"
SESSIONS = 60
_LOOK = 0.01
_COUNT = re.compile(rb"mesg=(\d+)")


@dataclass(frozen=True, slots=True)
class Load:
    """So many mails with so many bytes of text."""

    name: str
    size: int
    count: int


class Container:
    """A container of this bench, from its start to `remove`."""

    def __init__(self, name: str, options: list[str], command: str) -> None:
        self.name = f"relayfleet-throughput-{name}"
        words = ["--label", LABEL, "--name", self.name, "--network", "host", "--init", *options]
        run("docker", "run", "-d", *words, images.build("mailclient"), "sh", "-ec", command)
        self._usage = processor_file(self.name)

    @property
    def cpu(self) -> float:
        """Seconds of processor that all its processes have used, those that ended too."""
        return processor_seconds(self._usage)

    def execute(self, command: str) -> str:
        """Run a shell command in it."""
        return run("docker", "exec", self.name, "sh", "-ec", command)


class Client(Container):
    """`smtp-source`: sessions that are reused."""

    def __init__(self) -> None:
        super().__init__("client", [], "sleep infinity")

    async def send(self, port: int, load: Load) -> tuple[float, float]:
        """When it began and when the last mail was accepted, in Unix seconds. Raises TestbedError when one is refused."""
        words = f"-d -s {SESSIONS} -m {load.count} -l {load.size} -f from@{SENDER_DOMAIN} -t '{RECIPIENT}'"
        script = f"date +%s.%N; smtp-source {words} inet:127.0.0.1:{port}; date +%s.%N"
        began, ended = (await asyncio.to_thread(self.execute, script)).split()
        return float(began), float(ended)


class Sink(Container):
    """`smtp-sink`."""

    def __init__(self, folder: Path) -> None:
        self._counted = folder / "sink.count"
        command = f"exec smtp-sink -u postfix -c -m 1000 {SINK}:{SINK_PORT} 1024 > /bench/{self._counted.name}"
        super().__init__("sink", ["-v", f"{folder}:/bench"], command)

    @property
    def count(self) -> int:
        """Mails that came since its start."""
        with self._counted.open("rb") as file:
            file.seek(max(self._counted.stat().st_size - 200, 0))
            found = _COUNT.findall(file.read())
        return int(found[-1]) if found else 0

    async def reached(self, count: int, seconds: float) -> float:
        """The moment when it had `count` mails, in Unix seconds. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while self.count < count:
            if time.monotonic() > until:
                raise TimeoutError(f"{count - self.count} of {count} mails have not come in {seconds:.0f} s")
            await asyncio.sleep(_LOOK)
        return time.time()


@contextmanager
def cleared() -> Iterator[None]:
    """None of our containers before and after."""
    engine.ensure()
    baseimage.ensure(engine.can_pull())
    _remove()
    try:
        yield
    finally:
        _remove()


def processor_file(container: str) -> Path:
    """Where the kernel counts what a container uses, with either version of control groups."""
    pid = run("docker", "inspect", "-f", "{{.State.Pid}}", container).strip()
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    for controllers, group in groups.items():
        if "cpuacct" in controllers.split(","):
            return Path(f"/sys/fs/cgroup/cpuacct{group}/cpuacct.usage")
    return Path(f"/sys/fs/cgroup{groups['']}/cpu.stat")


def processor_seconds(file: Path) -> float:
    """What it says."""
    text = file.read_text()
    if file.name == "cpuacct.usage":
        return int(text) / 1e9
    return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6


def _remove() -> None:
    found = run("docker", "ps", "-aq", "--filter", f"label={LABEL}").split()
    if found:
        run("docker", "rm", "-f", "-v", *found)
