"""The network of the clusters: plain CNI plugins, one route per node, a public address per region.

No network product is needed, and so none hides what kube-proxy does. Pods keep their address within their own cluster; to
all others they appear as their node. Only an address that tests added to a pod (faults.py) leaves as it is.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from . import settings
from .clusters import kubectl
from .settings import REGIONS, Region
from .shell import TestbedError, run

JOIN_TIMEOUT = 60.0
CONFLIST = "/etc/cni/net.d/10-relayfleet.conflist"


def on_node(node: str, *command: str, stdin: str | None = None, timeout: float = 60.0) -> str:
    interactive = ("-i",) if stdin is not None else ()
    return run("docker", "exec", *interactive, node, *command, stdin=stdin, timeout=timeout)


def lay(region: Region) -> None:
    """Gives the nodes of a cluster their network; can be repeated."""
    addresses, blocks = _node_table(region)
    for node in region.nodes:
        on_node(node, "sh", "-ec", node_script(region, node, addresses, blocks), stdin=conflist(blocks[node]))
    on_node(region.entry, "ip", "address", "replace", f"{region.public}/32", "dev", "eth0")


def _node_table(region: Region) -> tuple[dict[str, str], dict[str, str]]:
    """Each node's own address and its block of pod addresses, once all have joined and blocks are dealt out."""
    deadline = time.monotonic() + JOIN_TIMEOUT
    while True:
        nodes = json.loads(kubectl(region.name, "get", "nodes", "-o", "json"))["items"]
        blocks = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in nodes if "podCIDR" in node["spec"]}
        if set(blocks) == set(region.nodes):
            return {node["metadata"]["name"]: _internal_address(node) for node in nodes}, blocks
        if time.monotonic() > deadline:
            raise TestbedError(f"{region.cluster}: only {sorted(blocks)} have joined after {JOIN_TIMEOUT:.0f} s")
        time.sleep(0.5)


def _internal_address(node: Mapping[str, Any]) -> str:
    addresses = {each["type"]: str(each["address"]) for each in node["status"]["addresses"]}
    return addresses["InternalIP"]


def conflist(block: str) -> str:
    """`ptp`: a cable from each pod to its node, so that every packet can be seen and shaped there."""
    ranges = {"type": "host-local", "ranges": [[{"subnet": block}]], "routes": [{"dst": "0.0.0.0/0"}]}
    cable = {"type": "ptp", "ipMasq": False, "ipam": ranges, "mtu": 1500}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "relayfleet", "plugins": [cable, ports]}, indent=2)


def node_script(region: Region, node: str, addresses: Mapping[str, str], blocks: Mapping[str, str]) -> str:
    """What one node runs. The CNI file comes last and in one move: with it the node becomes Ready."""
    others = [other for other in addresses if other != node]
    routes = [f"ip route replace {blocks[other]} via {addresses[other]}" for other in others]
    masquerade = (
        "nft -f - <<'END'\n"
        "table ip relayfleet\n"
        "delete table ip relayfleet\n"
        "table ip relayfleet {\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat;\n"
        f"    ip saddr {region.pods} ip daddr != {{ {region.pods}, {region.services} }} masquerade\n"
        "  }\n"
        "}\n"
        "END"
    )
    place = f"mkdir -p /etc/cni/net.d && cat > {CONFLIST}.new && mv {CONFLIST}.new {CONFLIST}"
    return "\n".join([*routes, masquerade, place])


def public_address(region: str) -> str:
    """The address by which the world reaches a region's Services of type LoadBalancer (see `publish`)."""
    return REGIONS[region].public


def publish(region: str, namespace: str, service: str) -> str:
    """Does what a cloud's load-balancer controller does: states the public address in the Service's status."""
    status = {"status": {"loadBalancer": {"ingress": [{"ip": public_address(region), "ipMode": "VIP"}]}}}
    patch = ("patch", "service", service, "--subresource=status", "--type=merge", "-p", json.dumps(status))
    kubectl(region, "-n", namespace, *patch)
    return public_address(region)


def forward_zone(region: str, zone: str, *servers: str) -> None:
    """CoreDNS of a region asks `servers` about names below `zone` (`test.`, say); no servers: it asks nobody any more."""
    current = kubectl(region, "-n", "kube-system", "get", "configmap", "coredns", "-o", "jsonpath={.data.Corefile}")
    corefile = with_zone(current, zone, servers)
    if corefile != current:
        patch = json.dumps({"data": {"Corefile": corefile}})
        kubectl(region, "-n", "kube-system", "patch", "configmap", "coredns", "--type=merge", "-p", patch)
        kubectl(region, "-n", "kube-system", "rollout", "restart", "deployment/coredns")
        kubectl(region, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s", timeout=90)


def with_zone(corefile: str, zone: str, servers: tuple[str, ...]) -> str:
    """The Corefile with exactly one server block for `zone`, or none."""
    begin, end = f"# begin {zone}\n", f"# end {zone}\n"
    before, found, rest = corefile.partition(begin)
    kept = before + rest.partition(end)[2] if found else corefile
    if not servers:
        return kept
    block = f"{zone}:53 {{\n    errors\n    cache 1\n    forward . {' '.join(servers)}\n}}\n"
    return f"{kept.rstrip()}\n{begin}{block}{end}"


def address(host: int) -> str:
    """An address of the Docker network above what Docker hands out itself (64–254), for sinks and sending addresses."""
    if not 64 <= host <= 254:
        raise ValueError(f"{host} is not between 64 and 254")
    return f"{settings.NETWORK_PREFIX}.{host}"
