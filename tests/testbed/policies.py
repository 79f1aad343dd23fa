"""Enforcement of NetworkPolicies, by the agent of the Kubernetes project (sigs.k8s.io/kube-network-policies).

The agent looks at the first packet of each connection, which the kernel hands it through a queue. It asks for that by an
nftables expression (`queue`) that some small kernels lack (CONFIG_NFT_QUEUE). They still have the older xtables target of
the same effect (NFQUEUE, usable from nftables by CONFIG_NFT_COMPAT), so the agent that is built here asks for that one, everywhere.
"""

import shutil
import tempfile
from pathlib import Path

from . import binaries, loading, settings
from .binaries import Program
from .clusters import kubectl
from .kernel import kernel_option
from .nodeimage import LEGACY_BUILDER
from .progress import say, step
from .settings import Region
from .shell import run, succeeds

MODULE = "sigs.k8s.io/kube-network-policies"
BUILT_IMAGE = f"relayfleet/network-policies:{settings.NETWORK_POLICIES}"

_TARGET = """package networkpolicy

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// queueTarget is struct xt_NFQ_info_v3: number of the queue, how many, flags (1: let pass when nobody listens), padding.
func queueTarget(number int, failOpen bool) *expr.Target {
	info := make([]byte, 8)
	binary.NativeEndian.PutUint16(info[0:], uint16(number))
	binary.NativeEndian.PutUint16(info[2:], 1)
	if failOpen {
		binary.NativeEndian.PutUint16(info[4:], 1)
	}
	unknown := xt.Unknown(info)
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &unknown}
}
"""
_CONTROLLER = "pkg/networkpolicy/controller.go"
_QUEUE = (
    r"queue := &expr\.Queue\{Num: uint16\(c\.config\.QueueID\)\}\n"
    r"\tif c\.config\.FailOpen \{\n\t\tqueue\.Flag = expr\.QueueFlagBypass\n\t\}"
)
AGENT = Program(
    "network-policies",
    MODULE,
    settings.NETWORK_POLICIES,
    {"netpol": f"{MODULE}/cmd"},
    change=((_CONTROLLER, _QUEUE, "queue := queueTarget(c.config.QueueID, c.config.FailOpen)"),),
    added={"pkg/networkpolicy/queue_target.go": _TARGET},
)


def lacking() -> list[str]:
    """What the agent needs and this machine does not have: options of the kernel, and Go to build it."""
    needed = ("NETFILTER_NETLINK_QUEUE", "NETFILTER_XT_TARGET_NFQUEUE", "NFT_COMPAT")
    missing = [f"CONFIG_{name}" for name in needed if kernel_option(name) is False]
    return missing if shutil.which("go") or AGENT.path("netpol").exists() else [*missing, "Go"]


def ensure(region: Region) -> None:
    """Installs the agent on the nodes of a region and waits until it runs on all of them. A machine on which it cannot work, or cannot be built,
    goes without: policies are stored there and not enforced."""
    if missing := lacking():
        say(f"{region.cluster}: NetworkPolicies are not enforced, this machine lacks {', '.join(missing)}")
        return
    present = ("get", "daemonset", "network-policies", "--ignore-not-found", "-o", "jsonpath={.status.numberReady}")
    if kubectl(region.name, "-n", "kube-system", *present) == str(len(region.nodes)):
        return
    with step(f"NetworkPolicy agent in {region.cluster}"):
        _build()
        loading.load([BUILT_IMAGE], [region])
        manifest = (settings.FILES / "network-policies.yaml").read_text().replace("IMAGE", BUILT_IMAGE)
        kubectl(region.name, "apply", "-f", "-", stdin=manifest)
        wait = ("rollout", "status", "daemonset/network-policies", "--timeout=90s")
        kubectl(region.name, "-n", "kube-system", *wait, timeout=100)


def _build() -> None:
    binaries.build(AGENT)
    if succeeds("docker", "image", "inspect", BUILT_IMAGE):
        return
    with tempfile.TemporaryDirectory(prefix="relayfleet-policies-") as folder:
        run("cp", AGENT.path("netpol"), folder)
        Path(folder, "Dockerfile").write_text('FROM scratch\nCOPY netpol /bin/netpol\nENTRYPOINT ["/bin/netpol"]\n')
        run("docker", "build", "-q", "-t", BUILT_IMAGE, folder, env=LEGACY_BUILDER)
