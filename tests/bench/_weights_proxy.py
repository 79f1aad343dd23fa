"""One node made of a network namespace of our own: addresses, a Node object and the stock kube-proxy, in either of its modes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from relayfleet.kube.client import Kube
from tests.bench._apiserver import LOOPBACK, POLL, running
from tests.testbed import binaries
from tests.testbed.shell import TestbedError, run

NODE = "weights"
SERVICES, RELAYS = "198.18.248.0/24", "198.18.244.0/24"
PODS, CLIENT = "198.18.240.0/21", "198.18.243.1"
"""The client counts as a pod: kube-proxy would give connections from elsewhere another source address and port."""

SCOUT = "198.18.243.2"
"""Who asks whether the Service answers yet. What connects before the rules are there is remembered by the kernel, untranslated, for two
minutes, and so is every later connection from the same address and port."""

PORTS = "1024 65000"
HEALTH = 10256
UP_SECONDS = 60.0


def relay_address(number: int) -> str:
    """The address of a relay, by its number from 0."""
    return f"{RELAYS.rsplit('.', 1)[0]}.{number + 1}"


def lay_out(relays: Sequence[str]) -> None:
    """The addresses of the namespace, all on its loopback, since not every kernel has dummy interfaces."""
    run("ip", "link", "set", "lo", "up")
    for address in (CLIENT, SCOUT, *relays):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    # Without a route a connect to a ClusterIP fails before the packet reaches kube-proxy's rules.
    run("ip", "route", "add", SERVICES, "dev", "lo", "src", CLIENT)
    # More ports than connections of one half: hardly one is used again while the kernel remembers its last connection.
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(PORTS)


async def add_node(kube: Kube) -> None:
    """The Node that kube-proxy looks itself up by."""
    address = {"type": "InternalIP", "address": CLIENT}
    await kube.create(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "status": {"addresses": [address]}}
    )


@asynccontextmanager
async def kube_proxy(kubeconfig: Path, mode: str, folder: Path) -> AsyncIterator[None]:
    """kube-proxy in a mode (nftables, iptables), all else as it is by default; within the block it is healthy, which may be before
    its first sync."""
    settings, log = folder / "kube-proxy.json", folder / "kube-proxy.log"
    settings.write_text(json.dumps(_settings(kubeconfig, mode)))
    async with running(folder, binaries.KUBERNETES.path("kube-proxy"), f"--config={settings}") as process:
        try:
            async with asyncio.timeout(UP_SECONDS):
                await _healthy(process)
        except TimeoutError:
            raise TestbedError(f"kube-proxy ({mode}) does not come up:\n{log.read_text()[-1500:]}") from None
        yield


def _settings(kubeconfig: Path, mode: str) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": NODE,
        "detectLocalMode": "ClusterCIDR",
        "clusterCIDR": PODS,
        "healthzBindAddress": f"{LOOPBACK}:{HEALTH}",
        # The size of the connection table is the machine's, not the namespace's: left alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


async def _healthy(process: asyncio.subprocess.Process) -> None:
    while not await _answers():
        if process.returncode is not None:
            raise TimeoutError
        await asyncio.sleep(POLL)


async def _answers() -> bool:
    """Whether its /healthz says 200."""
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, HEALTH)
    except OSError:
        return False
    writer.write(f"GET /healthz HTTP/1.0\r\nHost: {LOOPBACK}\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    return b" 200 " in line
