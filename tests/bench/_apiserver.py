"""A real API server without a cluster: etcd and kube-apiserver as plain processes on loopback, for as long as a block lasts.

Nothing else runs: no controllers, no kubelets. Who wants a node or a pod writes it. The programs are those of the test bed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kubernetes.aio import client, config

from relayfleet.kube.client import Kube
from tests.testbed import binaries
from tests.testbed.shell import TestbedError

LOOPBACK = "127.0.0.1"
UP_SECONDS, END_SECONDS, POLL_SECONDS = 180.0, 10.0, 0.2


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is, and a kubeconfig of one who may do everything."""

    url: str
    token: str
    kubeconfig: Path

    @asynccontextmanager
    async def kube(self) -> AsyncIterator[Kube]:
        """The operator's own client."""
        configuration = client.Configuration()
        await config.load_kube_config(config_file=str(self.kubeconfig), client_configuration=configuration)
        kube = Kube(client.ApiClient(configuration))
        try:
            yield kube
        finally:
            await kube.close()


@asynccontextmanager
async def api_server(folder: Path, services: str) -> AsyncIterator[Access]:
    """Both programs, with their data and logs in `folder`; `services` is the range of ClusterIPs, such as 198.18.248.0/24."""
    for program in (binaries.ETCD, binaries.KUBERNETES):
        binaries.build(program)
    store, peers, port = (f"http://{LOOPBACK}:{_free_port()}", f"http://{LOOPBACK}:{_free_port()}", _free_port())
    access = _access(folder, port)
    async with (
        running(_etcd(folder, store, peers), folder / "etcd.log"),
        running(_kube_apiserver(folder, store, port, services), folder / "kube-apiserver.log") as server,
    ):
        await _ready(access, server, folder / "kube-apiserver.log")
        yield access


@asynccontextmanager
async def running(words: list[str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that ends with the block, however the block ends; both its outputs go to `log`."""
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(*words, stdout=sink, stderr=sink)
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), END_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def _etcd(folder: Path, store: str, peers: str) -> list[str]:
    addresses = {
        "listen-client-urls": store,
        "advertise-client-urls": store,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"default={peers}",
    }
    flags = [f"--{name}={value}" for name, value in addresses.items()]
    # Nothing here has to outlive a power cut, and the disk is not what is measured.
    return [str(binaries.ETCD.path("etcd")), f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", *flags]


def _kube_apiserver(folder: Path, store: str, port: int, services: str) -> list[str]:
    flags = {
        "etcd-servers": store,
        "bind-address": LOOPBACK,
        "advertise-address": LOOPBACK,  # otherwise it looks for a default route, which a namespace of our own has not
        "endpoint-reconciler-type": "none",
        "secure-port": port,
        "cert-dir": folder / "certificates",
        "service-cluster-ip-range": services,
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": folder / "accounts.pem",
        "service-account-signing-key-file": folder / "accounts.pem",
        "token-auth-file": folder / "tokens.csv",
        "authorization-mode": "RBAC",
    }
    return [str(binaries.KUBERNETES.path("kube-apiserver")), *(f"--{name}={value}" for name, value in flags.items())]


def _access(folder: Path, port: int) -> Access:
    access = Access(f"https://{LOOPBACK}:{port}", secrets.token_hex(16), folder / "kubeconfig")
    (folder / "tokens.csv").write_text(f"{access.token},bench,bench,system:masters\n")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "accounts.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    access.kubeconfig.write_text(json.dumps(_kubeconfig(access)))
    return access


def _kubeconfig(access: Access) -> dict[str, object]:
    # The server makes its certificate as it starts, and its address is loopback: there is nobody to mistake it for.
    cluster = {"server": access.url, "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": "bench", "user": {"token": access.token}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }


async def _ready(access: Access, server: asyncio.subprocess.Process, log: Path) -> None:
    header = {"Authorization": f"Bearer {access.token}"}
    async with aiohttp.ClientSession(headers=header) as session, asyncio.timeout(UP_SECONDS):
        while not await _says_ok(session, f"{access.url}/readyz"):
            if server.returncode is not None:
                raise TestbedError(f"kube-apiserver ended with {server.returncode}:\n{log.read_text()[-1500:]}")
            await asyncio.sleep(POLL_SECONDS)


async def _says_ok(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, ssl=False) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
