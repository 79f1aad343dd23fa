"""The operator as a process of its own in a network of its own, and what it costs by /proc: the operator itself, and its prober."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.bench import _scale_net
from tests.bench._scale_fleet import REGION, SYSTEM, operator_pod, running
from tests.e2e.api import Api

STATUS_PORT = 8080
STOP = 15.0
"""Seconds to end after SIGTERM."""
_TICKS = os.sysconf("SC_CLK_TCK")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process so far: processor time in seconds, and resident memory in MiB, now and at its most."""

    cpu: float
    memory: float
    most: float


class Operator:
    """A replica that runs. `began`: when its program was started (monotonic)."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, address: str) -> None:
        self.process, self.name, self.address = process, name, address
        self.began = time.monotonic()

    async def cost(self) -> tuple[Cost, Cost]:
        """Of the operator and of its prober."""
        return _cost(self.process.pid), _cost(self.prober)

    @property
    def prober(self) -> int:
        """Its only child."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def signal(self, number: signal.Signals) -> None:
        """To the operator alone."""
        self.process.send_signal(number)

    async def alive(self, seconds: float) -> str | None:
        """What /livez says; None when it says nothing in time, or no."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as http, http.get(self._url("livez")) as answer:
                return (await answer.text()).strip() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def metric(self, name: str, **labels: str) -> float:
        """Sum over all series of a metric that have these labels."""
        async with aiohttp.ClientSession() as http, http.get(self._url("metrics")) as answer:
            families = text_string_to_metric_families(await answer.text())
        samples = (each for family in families for each in family.samples if each.name == name)
        return sum(each.value for each in samples if labels.items() <= each.labels.items())

    def _url(self, path: str) -> str:
        return f"http://{self.address}:{STATUS_PORT}/{path}"


@asynccontextmanager
async def operator(api: Api, kubeconfig: Path, logs: Path) -> AsyncIterator[Operator]:
    """A replica, with a pod that stands for it. `logs`: its log is put there."""
    number = next(_numbers)
    name = f"relayfleet-{number}"
    with (logs / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--net", "sh", "-c", 'read -r go && exec "$@"', "operator"),
            *(sys.executable, "-m", "relayfleet", "operator"),
            stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, env=_environment(name, kubeconfig),
        )  # fmt: skip
    try:
        yield await _let_go(api, process, name, number)
    finally:
        await _end(process)
        await api.delete("Pod", SYSTEM, name, grace=0)


async def _let_go(api: Api, process: asyncio.subprocess.Process, name: str, number: int) -> Operator:
    """The program starts when its network is there."""
    await _own_network(process.pid)
    address = await _scale_net.cable(process.pid, number)
    await api.apply(operator_pod(name, number % 10))
    await api.patch("Pod", SYSTEM, name, {"status": running(address)}, "status")
    assert process.stdin
    process.stdin.write(b"go\n")
    return Operator(process, name, address)


async def _own_network(process: int) -> None:
    async with asyncio.timeout(10.0):
        while Path(f"/proc/{process}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _environment(name: str, kubeconfig: Path) -> dict[str, str]:
    own = {
        "REGION": REGION,
        "NAMESPACE": SYSTEM,
        "IDENTITY": name,
        "IMAGE": "relayfleet",
        "RABBITMQ_IMAGE": "rabbitmq",
    }
    return {**os.environ, "KUBECONFIG": str(kubeconfig), **{f"RELAYFLEET_{key}": value for key, value in own.items()}}


async def _end(process: asyncio.subprocess.Process) -> None:
    for number, seconds in ((signal.SIGCONT, 0.0), (signal.SIGTERM, STOP), (signal.SIGKILL, STOP)):
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            process.send_signal(number)
            async with asyncio.timeout(seconds):
                await process.wait()


def _cost(process: int) -> Cost:
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    lines = (line.split() for line in Path(f"/proc/{process}/status").read_text().splitlines())
    sizes = {words[0]: int(words[1]) / 1024 for words in lines if words[0] in ("VmRSS:", "VmHWM:")}
    return Cost((int(times[11]) + int(times[12])) / _TICKS, sizes["VmRSS:"], sizes["VmHWM:"])
