"""What the test bed consists of: versions, addresses, regions, and where things are kept.

Every address lies in 198.18.0.0/15, the block that RFC 2544 reserves for bench tests: nothing that runs here can reach,
or be mistaken for, a real mail server.
"""

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).resolve().parent / "files"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "relayfleet"
BIN = CACHE / "bin"
LOGS = CACHE / "logs"

KUBERNETES = "v1.37.2"
KUBERNETES_STAGING = "v0.37.2"  # k8s.io/api, client-go, …: the same source under its library number
KIND = "v0.33.0"
CONTAINERD = "v2.4.2"
ETCD = "v3.7.3"
COREDNS = "v1.15.0"
LOCAL_PATH = "v0.0.30"
NETWORK_POLICIES = "v0.8.0"

BASE_IMAGE = "debian:trixie-slim"
STOCK_NODE_IMAGE = f"kindest/node:{KUBERNETES}"

# A second test bed beside a running one (another checkout, a trial of the harness itself): RELAYFLEET_SLOT=1.
SLOT = int(os.environ.get("RELAYFLEET_SLOT", "0"))
NAME = f"relayfleet{SLOT or ''}"

RANGE = "198.18.0.0/15"
NETWORK = NAME
NETWORK_PREFIX = f"198.19.{SLOT}"
NETWORK_SUBNET = f"{NETWORK_PREFIX}.0/24"
NETWORK_GATEWAY = f"{NETWORK_PREFIX}.1"
NETWORK_RANGE = f"{NETWORK_PREFIX}.0/26"  # what Docker hands out; above it: public, sending and test addresses
ENGINE_BRIDGE = "198.18.0.1/24"
ENGINE_POOL = "198.19.0.0/16"


@dataclass(frozen=True)
class Region:
    """One kind cluster that plays one region."""

    name: str
    workers: int
    pods: str
    services: str
    public: str

    @property
    def cluster(self) -> str:
        return f"{NAME}-{self.name}"

    @property
    def control_plane(self) -> str:
        return f"{self.cluster}-control-plane"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names as kind gives them: worker, worker2, worker3, …"""
        numbers = ["", *(str(n) for n in range(2, self.workers + 1))][: self.workers]
        return (self.control_plane, *(f"{self.cluster}-worker{number}" for number in numbers))

    @property
    def entry(self) -> str:
        """The node that owns the public address: the first one that runs workloads."""
        return self.nodes[1] if self.workers else self.nodes[0]

    @property
    def kubeconfig(self) -> Path:
        return CACHE / f"kube{SLOT or ''}" / f"{self.name}.yaml"


REGIONS = {
    region.name: region
    for region in (
        Region("eu", workers=2, pods="198.18.64.0/19", services="198.18.96.0/20", public=f"{NETWORK_PREFIX}.100"),
        Region("us", workers=0, pods="198.18.128.0/19", services="198.18.160.0/20", public=f"{NETWORK_PREFIX}.101"),
    )
}
