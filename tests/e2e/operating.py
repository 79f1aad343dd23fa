"""The operator as users install it: by Helm, from the chart of this checkout."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from tests.e2e.api import Object, Objects
from tests.e2e.region import Region
from tests.e2e.waiting import NotYet, rolled_out, wait_for
from tests.testbed import settings
from tests.testbed.shell import run

T = TypeVar("T")
NAMESPACE = "relayfleet-system"
RELEASE = "relayfleet"
METRICS = 8080
CHART = settings.ROOT / "charts" / "relayfleet"
INSTALL_SECONDS = 180.0
DEPLOYMENT: Object = {"kind": "Deployment", "metadata": {"namespace": NAMESPACE, "name": RELEASE}}
TAKEOVER = 15.0
"""Seconds that a change of the leader may add to anything that the operator does, at any moment: a replica that stands still for as long as its lease
is lost to it. 3.5 are the lease's and its poll, 5 those in which the machine stood still, the others the start of a dozen watches on busy cores."""
RESTARTS = 330.0
"""Seconds within which a replica whose process a test has killed is back at the latest: the kubelet puts a start off for 10 s
after the second end in ten minutes, for twice as long after each further one, for 300 at most."""


async def helm(region: Region, *arguments: str, seconds: float = INSTALL_SECONDS) -> str:
    """What helm prints; TestbedError with its words when it fails."""
    command: list[str | Path] = [
        settings.BIN / "helm",
        "--kubeconfig",
        region.place.kubeconfig,
        "--namespace",
        NAMESPACE,
        *arguments,
    ]
    return await asyncio.to_thread(run, *command, timeout=seconds)


def values(region: Region, images: Mapping[str, str]) -> list[str]:
    """The values of the test bed, as arguments of helm."""
    repository, _, tag = images["relayfleet"].partition(":")
    given = {
        "region": region.name,
        "image.registry": "",
        "image.repository": repository,
        "image.tag": tag,
        "rabbitmq.image": images["rabbitmq"],
    }
    return [part for key, value in given.items() for part in ("--set", f"{key}={value}")]


async def install(region: Region, images: Mapping[str, str], *more: str) -> None:
    """Install or upgrade, and return when both replicas are ready."""
    await helm(
        region, "upgrade", "--install", RELEASE, str(CHART), "--create-namespace",
        "--take-ownership",  # of CRDs that somebody applied by hand
        *values(region, images), *more, "--wait",
        "--timeout", f"{INSTALL_SECONDS:.0f}s", seconds=INSTALL_SECONDS + 20,
    )  # fmt: skip


async def replicas(region: Region) -> Objects:
    """The operator's pods."""
    return await region.api.list("Pod", NAMESPACE, {"app.kubernetes.io/component": "operator"})


async def leader(region: Region) -> tuple[str, int]:
    """The pod that holds the lease, and the lease's epoch."""

    async def held() -> Object:
        lease = await region.api.get("Lease", NAMESPACE, RELEASE)
        if not lease or not lease["spec"].get("holderIdentity"):
            raise NotYet("nobody holds the lease")
        return lease

    spec = (await wait_for(held, 30, f"a leader of the operator in {region.name}"))["spec"]
    return spec["holderIdentity"].partition("_")[0], int(spec["leaseTransitions"])


async def complete(region: Region) -> None:
    """Return when all replicas run: what needs a standby, or two who look, cannot begin while one is being started again."""
    await rolled_out(region.api, DEPLOYMENT, RESTARTS)


async def steady(region: Region) -> int:
    """The epoch of a leader that has led for long enough to have seen all that it watches."""

    async def holds() -> int:
        lease = await region.api.get("Lease", NAMESPACE, RELEASE)
        if not lease or not lease["spec"].get("holderIdentity"):
            raise NotYet("nobody holds the lease")
        since = datetime.datetime.fromisoformat(lease["spec"]["acquireTime"])  # containers have this machine's clock
        if (led := (datetime.datetime.now(datetime.UTC) - since).total_seconds()) < TAKEOVER:
            raise NotYet(f"{lease['spec']['holderIdentity']} leads for {led:.1f} s")
        return int(lease["spec"]["leaseTransitions"])

    return await wait_for(holds, RESTARTS + TAKEOVER, f"a leader of the operator in {region.name} that stays")


async def under_one_leader(region: Region, attempt: Callable[[], Awaitable[T]], most: int = 3) -> T:
    """What the attempt returns. One that fails while another replica takes the lead proves nothing of what a leader sees, and is made once more; one
    that fails under the same leader has failed."""
    for number in range(1, most + 1):
        epoch = await steady(region)
        try:
            return await attempt()
        except AssertionError as error:
            if number == most or (await leader(region))[1] == epoch:
                raise
            print(f"the leader changed meanwhile, so once more: {error}")
    raise AssertionError("not reached")


async def tag_on_nodes(region: Region, image: str, other: str) -> None:
    """Give an image that the nodes have another name there."""
    for node in region.place.nodes:
        command = ["docker", "exec", node, "ctr", "-n", "k8s.io", "images", "tag", "--force"]
        await asyncio.to_thread(run, *command, f"docker.io/{image}", f"docker.io/{other}")


_KILL = """
for process in /proc/[0-9]*; do
  grep -qsE 'pod({dashes}|{underscores})' $process/cgroup || continue
  grep -qs relayfleet $process/cmdline || continue
  kill -KILL ${{process#/proc/}} && echo ${{process#/proc/}}
done
"""


async def kill(region: Region, pod: Object) -> None:
    """SIGKILL to the main process of a pod of ours, from its node: it gets no chance to say good-bye."""
    uid = str(pod["metadata"]["uid"])
    script = _KILL.format(dashes=uid, underscores=uid.replace("-", "_"))
    command = ("docker", "exec", str(pod["spec"]["nodeName"]), "sh", "-c", script)
    killed = await asyncio.to_thread(run, *command)
    assert killed.strip(), f"no process of {pod['metadata']['name']} found"
