"""A pod as its node sees it: processes, network namespace, cable. Faults reach in from there, so no image needs tools."""

import json
from dataclasses import dataclass

from .clusters import kubectl
from .network import on_node
from .shell import TestbedError


@dataclass(frozen=True)
class PodOnNode:
    node: str
    address: str
    container: str  # containerd's id
    main: int  # the container's first process, as the node numbers it
    network: str = ""  # the name of the pod's network namespace on the node; "" when it has none

    def inside(self, *command: str) -> str:
        """Runs a program of the node in the pod's network."""
        return on_node(self.node, *self.inside_command(*command))

    def inside_command(self, *command: str) -> tuple[str, ...]:
        if self.network:  # outlives the container, which may be started again before a fault is undone
            return ("nsenter", f"--net=/run/netns/{self.network}", *command)
        return ("nsenter", "--target", str(self.main), "--net", *command)

    def cable(self) -> str:
        """The node's end of the pod's network cable."""
        route = json.loads(on_node(self.node, "ip", "-json", "route", "get", self.address))
        return str(route[0]["dev"])


def find(region: str, namespace: str, pod: str, container: str = "") -> PodOnNode:
    """A running container of a pod; without a name the pod's first one."""
    found = json.loads(kubectl(region, "-n", namespace, "get", "pod", pod, "-o", "json"))
    statuses = found["status"].get("containerStatuses", [])
    name = container or found["spec"]["containers"][0]["name"]
    running = {each["name"]: each["containerID"] for each in statuses if "running" in each["state"]}
    if name not in running:
        raise TestbedError(f"{region}: container {name} of pod {namespace}/{pod} is not running")
    identity = running[name].removeprefix("containerd://")
    node = found["spec"]["nodeName"]
    main = _first_process(node, identity)
    return PodOnNode(node, found["status"]["podIP"], identity, main, _network(node, main))


def _first_process(node: str, container: str) -> int:
    for line in on_node(node, "ctr", "-n", "k8s.io", "tasks", "ls").splitlines():
        words = line.split()
        if words and words[0] == container:
            return int(words[1])
    raise TestbedError(f"{node}: containerd knows no task {container}")


def _network(node: str, process: int) -> str:
    """As `ip netns` names it; "" for the node's own network, which has no name."""
    try:
        return on_node(node, "ip", "netns", "identify", str(process)).strip()
    except TestbedError:
        return ""
