"""The two kind clusters: created, found healthy or created anew, deleted.

A node container that was stopped with its engine comes back with another address and stale certificates often enough that
mending it is a gamble; creating a cluster takes some fifteen seconds and always works.
"""

import hashlib
import json
import re
import shutil
import threading
import time
from pathlib import Path

from . import binaries, bridges, freezer, settings
from .progress import say
from .settings import REGIONS, Region
from .shell import TestbedError, run, succeeds

READY_TIMEOUT = 120.0
_AUDIT = settings.FILES / "audit.yaml"


def kubeconfig(region: str) -> Path:
    return REGIONS[region].kubeconfig


def kubectl(region: str, *arguments: str, stdin: str | None = None, timeout: float = 60.0) -> str:
    """Output of kubectl against one region; objects go in through `stdin` and `-f -`."""
    program = settings.BIN / "kubectl"
    return run(program, "--kubeconfig", kubeconfig(region), *arguments, stdin=stdin, timeout=timeout)


def ensure_network() -> None:
    bridges.clear()
    if succeeds("docker", "network", "inspect", settings.NETWORK):
        return
    addresses = ("--subnet", settings.NETWORK_SUBNET, "--gateway", settings.NETWORK_GATEWAY)
    run("docker", "network", "create", *addresses, "--ip-range", settings.NETWORK_RANGE, settings.NETWORK)


def healthy(region: Region) -> bool:
    """Every node container runs and every node says that it is Ready."""
    if not region.kubeconfig.exists() or sorted(_running(region)) != sorted(region.nodes):
        return False
    try:
        return len(_ready_nodes(region)) == len(region.nodes)
    except TestbedError:
        return False


def running(region: Region) -> bool:
    """At least one of its nodes does; False without a Docker Engine too."""
    return succeeds("docker", "info") and bool(_running(region))


def _running(region: Region) -> list[str]:
    return _containers(region, "--filter", "status=running", "--format", "{{.Names}}")


def _ready_nodes(region: Region) -> list[str]:
    nodes = json.loads(kubectl(region.name, "get", "nodes", "-o", "json", "--request-timeout=10s"))["items"]
    ready = {"type": "Ready", "status": "True"}
    return [
        node["metadata"]["name"]
        for node in nodes
        if any(ready.items() <= condition.items() for condition in node["status"]["conditions"])
    ]


def create(region: Region, image: str, stock: bool) -> None:
    """Creates a cluster; nodes are not Ready before the network is laid (network.py)."""
    delete(region)
    region.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    keep_audit_policy()
    run(
        _kind(), "create", "cluster", "--config", "-", "--image", image, "--kubeconfig", region.kubeconfig,
        stdin=json.dumps(config(region, stock)), env=_kind_environment(), timeout=300,
    )  # fmt: skip


def forget_discovery(region: Region) -> None:
    """kubectl and helm remember for minutes which kinds a server has: after an installation, what they know from before misleads."""
    server = re.search(r"server: https?://(\S+)", region.kubeconfig.read_text())
    if server:
        folder = re.sub(r"[^\w.]", "_", server.group(1))
        shutil.rmtree(Path.home() / ".kube" / "cache" / "discovery" / folder, ignore_errors=True)


def delete(region: Region) -> None:
    try:
        _delete(region)
    except TestbedError:
        if not freezer.thaw(_containers(region, "--all", "--quiet", "--no-trunc")):
            raise
        say(f"{region.cluster}: a dead engine had left frozen processes in it; they go on, and it is deleted once more")
        _delete(region)
    region.kubeconfig.unlink(missing_ok=True)


def _delete(region: Region) -> None:
    run(
        _kind(), "delete", "cluster", "--name", region.cluster, "--kubeconfig", region.kubeconfig,
        env=_kind_environment(), timeout=120,
    )  # fmt: skip


def _containers(region: Region, *words: str) -> list[str]:
    """Of its nodes, as `docker ps` lists them with these words."""
    return run("docker", "ps", "--filter", f"label=io.x-k8s.kind.cluster={region.cluster}", *words).split()


def _kind() -> Path:
    return binaries.TOOLS.path("kind")


def _kind_environment() -> dict[str, str]:
    return {"KIND_EXPERIMENTAL_DOCKER_NETWORK": settings.NETWORK, "KIND_EXPERIMENTAL_PROVIDER": "docker"}


def wait_ready(region: Region) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while len(_ready_nodes(region)) < len(region.nodes):
        if time.monotonic() > deadline:
            raise TestbedError(f"nodes of {region.cluster} are not Ready after {READY_TIMEOUT:.0f} s")
        time.sleep(0.5)


def settle_kube_proxy(region: Region) -> None:
    """kubeadm gives kube-proxy no share of the CPU: where pods want more than there is, it writes its rules a second late or more. Managed clusters
    request a tenth of a core for it, and so do we."""
    kubectl(region.name, "-n", "kube-system", "set", "resources", "daemonset/kube-proxy", "--requests=cpu=100m")
    kubectl(region.name, "-n", "kube-system", "rollout", "status", "daemonset/kube-proxy", "--timeout=90s", timeout=100)


def config(region: Region, stock: bool) -> dict[str, object]:
    """kind's configuration of one region. kind reads YAML, of which JSON is a part."""
    kubelet = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **_kubelet(stock)}
    patches = [json.dumps(document) for document in (kubelet, _api_server())]
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": region.cluster,
        "networking": {
            "disableDefaultCNI": True,
            "kubeProxyMode": "nftables",
            "podSubnet": region.pods,
            "serviceSubnet": region.services,
        },
        "kubeadmConfigPatches": patches,
        "nodes": [_node(region, name) for name in region.nodes],
    }


def _kubelet(stock: bool) -> dict[str, object]:
    """Old cgroups are refused by default. A Secret that changes is in its pods after twenty seconds and not after a minute or two, for which
    tests would have to wait. The gate lets a kubelet live with what a limited machine forbids it."""
    wanted: dict[str, object] = {"failCgroupV1": False, "syncFrequency": "20s"}
    return wanted if stock else wanted | {"featureGates": {"KubeletInUserNamespace": True}}


def _api_server() -> dict[str, object]:
    arguments = {"audit-policy-file": "/etc/kubernetes/audit.yaml", "audit-log-path": "/var/log/kubernetes/audit.log"}
    policy = {"name": "audit", "hostPath": "/kind/audit.yaml", "mountPath": "/etc/kubernetes/audit.yaml"}
    log = {"name": "audit-log", "hostPath": "/var/log/kubernetes", "mountPath": "/var/log/kubernetes"}
    return {
        "kind": "ClusterConfiguration",
        "apiServer": {
            "extraArgs": [{"name": name, "value": value} for name, value in arguments.items()],
            "extraVolumes": [
                policy | {"readOnly": True, "pathType": "File"},
                log | {"readOnly": False, "pathType": "DirectoryOrCreate"},
            ],
        },
    }


def audit_policy() -> Path:
    """The file that nodes mount. A node container that starts again needs it where it was, when the checkout that made the cluster may be gone. Its name is made of its
    content, so that another checkout with another policy leaves that of running clusters alone."""
    digest = hashlib.sha256(_AUDIT.read_bytes()).hexdigest()[:12]
    return settings.CACHE / "audit" / f"{digest}.yaml"


def keep_audit_policy() -> None:
    """See that it is there, whole. Both clusters may be created at once."""
    kept = audit_policy()
    kept.parent.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_suffix(f".{threading.get_ident()}")
    fresh.write_bytes(_AUDIT.read_bytes())
    if kept.is_dir():
        kept.rmdir()  # Docker makes one where a file that it mounts is missing
    fresh.replace(kept)


def _node(region: Region, name: str) -> dict[str, object]:
    """Regions and zones are labels that the operator and the scheduler read; every worker is a zone of its own."""
    zone = f"{region.name}-{'abcdefgh'[max(region.nodes.index(name) - 1, 0)]}"
    node: dict[str, object] = {
        "role": "control-plane" if name == region.control_plane else "worker",
        "labels": {"topology.kubernetes.io/region": region.name, "topology.kubernetes.io/zone": zone},
    }
    if name == region.control_plane:
        audit = str(audit_policy())
        node["extraMounts"] = [{"hostPath": audit, "containerPath": "/kind/audit.yaml", "readOnly": True}]
    return node


def describe() -> None:
    for region in REGIONS.values():
        state = "healthy" if healthy(region) else "not there or not healthy"
        say(f"{region.name}: {state}; kubeconfig {region.kubeconfig}, public address {region.public}")
