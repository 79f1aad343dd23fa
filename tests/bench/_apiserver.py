"""A real API server over a real etcd, as two plain processes: no kubelet, no controller, no scheduler, so nothing happens by itself.

etcd does not wait for the disk. Every user is in `system:masters`. Writes of all users are in the audit log, one JSON object a line.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from kubernetes.aio import client, config

from relayfleet.kube.client import Kube
from tests.bench._apiserver_keys import Authority, Pair
from tests.e2e.api import Access, access
from tests.testbed import binaries
from tests.testbed.shell import TestbedError

LOOPBACK, SERVICES = "127.0.0.1", "198.19.240.0/20"
POLL = 0.2
START = 90.0
"""Seconds until it serves, on a machine that has other things to do."""
STOP = 5.0
"""Seconds to end by itself."""

_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
"""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where it is, and the files that it works with; `audit` is its audit log."""

    url: str
    authority: Authority
    folder: Path
    audit: Path

    def kubeconfig(self, user: str, url: str = "") -> Path:
        """A file for a user, who is made by this; `url`: of a proxy instead."""
        path = self.folder / f"{user}.kubeconfig"
        path.write_text(json.dumps(_kubeconfig(url or self.url, self.authority, self.authority.user(user))))
        return path

    def access(self, user: str) -> Access:
        """For `tests.e2e.api.Api`."""
        return access(self.kubeconfig(user))


@asynccontextmanager
async def operators_client(kubeconfig: Path) -> AsyncIterator[Kube]:
    """The operator's own client, as that user."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    kube = Kube(client.ApiClient(configuration))
    try:
        yield kube
    finally:
        await kube.close()


def build() -> None:
    """What is not there yet of its programs."""
    for program in (binaries.ETCD, binaries.KUBERNETES):
        binaries.build(program)


@asynccontextmanager
async def api_server(folder: Path, host: str = LOOPBACK, services: str = SERVICES) -> AsyncIterator[ApiServer]:
    """Serves at an address of this machine while the block runs. What was not built yet is built. `folder` keeps all its files; `services` is
    the range of ClusterIPs."""
    await asyncio.to_thread(build)
    authority, etcd, port = Authority(folder), _free_port(), _free_port()
    server = ApiServer(f"https://{host}:{port}", authority, folder, folder / "audit.jsonl")
    async with (
        running(folder, *_etcd(folder, etcd)) as store,
        running(folder, *_apiserver(server, etcd, (host, port), services)) as process,
    ):
        await _serving(server, store, process)
        yield server


async def _serving(server: ApiServer, *processes: asyncio.subprocess.Process) -> None:
    where = server.access("probe")
    async with asyncio.timeout(START), aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=where.tls)) as http:
        while True:
            if any(each.returncode is not None for each in processes):
                raise TestbedError(f"etcd or kube-apiserver has ended; its last words are in {server.folder}")
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(f"{where.url}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(POLL)


@asynccontextmanager
async def running(folder: Path, program: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that ends with the block, however the block ends; both its outputs go to a log of its name in `folder`."""
    with (folder / f"{program.name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(program, *arguments, stdout=log, stderr=log)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _etcd(folder: Path, port: int) -> tuple[Path, *tuple[str, ...]]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{_free_port()}"
    return (
        binaries.ETCD.path("etcd"),
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    )


def _apiserver(server: ApiServer, etcd: int, where: tuple[str, int], services: str) -> tuple[Path, *tuple[str, ...]]:
    host, port = where
    keys: Pair = server.authority.server(host)
    policy = server.folder / "audit-policy.yaml"
    policy.write_text(_POLICY)
    return (
        binaries.KUBERNETES.path("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--bind-address={host}",
        f"--advertise-address={host}",
        f"--secure-port={port}",
        "--endpoint-reconciler-type=none",
        f"--service-cluster-ip-range={services}",
        f"--tls-cert-file={keys.certificate}",
        f"--tls-private-key-file={keys.key}",
        f"--client-ca-file={server.authority.file}",
        "--service-account-issuer=https://bench.invalid",
        f"--service-account-key-file={keys.key}",
        f"--service-account-signing-key-file={keys.key}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",  # nobody makes default accounts here
        f"--audit-policy-file={policy}",
        f"--audit-log-path={server.audit}",
    )


def _kubeconfig(url: str, authority: Authority, user: Pair) -> dict[str, object]:
    cluster = {"server": url, "certificate-authority-data": _encoded(authority.file)}
    keys = {"client-certificate-data": _encoded(user.certificate), "client-key-data": _encoded(user.key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": "bench", "user": keys}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }


def server_tls(server: ApiServer, host: str) -> ssl.SSLContext:
    """For a proxy in front of the API server."""
    keys, context = server.authority.server(host), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate, keys.key)
    return context


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    build()
