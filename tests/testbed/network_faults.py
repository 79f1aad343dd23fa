"""Faults of the network: lost, refused and slow packets at one pod, and regions that cannot see each other."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from . import pods
from .bounded import LONGEST, fault
from .network import on_node
from .pods import PodOnNode
from .settings import REGIONS, Region
from .shell import TestbedError, run

DIRECTIONS = {"in": ("input", "saddr"), "out": ("output", "daddr")}
ACTIONS = {
    "drop": ("drop",),
    "reset": (
        "tcp flags & rst == 0 reject with tcp reset",
        "meta l4proto != tcp reject",
    ),  # the answers themselves have to pass
    "unreachable": ("meta l4proto != icmp reject with icmp type host-unreachable",),
}


def rules(
    table: str, directions: Sequence[str], ports: Sequence[int], peers: Sequence[str], action: str, percent: int = 100
) -> str:
    """An nftables table that hits the packets of `ports` (the server's, on either side) and `peers`; empty: all.

    Hook priority -300 puts it before address translation and connection tracking: established connections are hit too.
    """
    lines = [f"table ip {table} {{"]
    for direction in directions:
        hook, peer_field = DIRECTIONS[direction]
        match = ["oif != lo" if direction == "out" else "iif != lo"]
        match += [f"ip {peer_field} {{ {', '.join(peers)} }}"] if peers else []
        match += [f"numgen random mod 100 < {percent}"] if percent < 100 else []
        priority = -300 if action == "drop" else 0
        lines.append(f"  chain {hook} {{\n    type filter hook {hook} priority {priority};")
        for port in _port_matches(ports):
            lines += [f"    {' '.join([*match, *port])} {verdict}" for verdict in ACTIONS[action]]
        lines.append("  }")
    return "\n".join([*lines, "}"])


def _port_matches(ports: Sequence[int]) -> list[list[str]]:
    if not ports:
        return [[]]
    listed = ", ".join(str(port) for port in ports)
    return [[f"tcp dport {{ {listed} }}"], [f"tcp sport {{ {listed} }}"]]


@contextmanager
def blocked(
    region: str,
    namespace: str,
    pod: str,
    *,
    directions: Sequence[str] = ("in", "out"),
    ports: Sequence[int] = (),
    peers: Sequence[str] = (),
    action: str = "drop",
    percent: int = 100,
    longest: float = LONGEST,
) -> Iterator[None]:
    """A pod whose packets are lost (`drop`), some of them (`percent`), or refused (`reset`, `unreachable`)."""
    target = pods.find(region, namespace, pod)
    table = f"fault_{secrets.token_hex(4)}"
    text = rules(table, directions, ports, peers, action, percent)
    undo = _at(target, "nft", "delete", "table", "ip", table)
    with fault(lambda: on_node(target.node, "sh", "-c", _stdin_to(target, "nft -f -"), stdin=text), undo, longest):
        yield


@contextmanager
def slow_link(region: str, namespace: str, pod: str, rate: str = "64kbit", longest: float = LONGEST) -> Iterator[None]:
    """What a pod sends leaves at `rate`; packets wait up to two seconds for their turn."""
    shape = ("tbf", "rate", rate, "burst", "3000", "latency", "2s")
    with _queue_discipline(region, namespace, pod, shape, longest):
        yield


@contextmanager
def delayed(region: str, namespace: str, pod: str, *netem: str, longest: float = LONGEST) -> Iterator[None]:
    """netem on what a pod sends: `delayed(…, "delay", "200ms", "50ms", "loss", "1%")`.

    Kernels without netem refuse it; `blocked(percent=…)` and `slow_link` work on all.
    """
    with _queue_discipline(region, namespace, pod, ("netem", *netem), longest):
        yield


@contextmanager
def _queue_discipline(region: str, namespace: str, pod: str, shape: Sequence[str], longest: float) -> Iterator[None]:
    target = pods.find(region, namespace, pod)
    apply = ("tc", "qdisc", "replace", "dev", "eth0", "root", *shape)
    undo = _at(target, "tc", "qdisc", "del", "dev", "eth0", "root")
    with fault(lambda: target.inside(*apply), undo, longest):
        yield


@contextmanager
def separated_regions(one: str = "eu", other: str = "us", longest: float = LONGEST) -> Iterator[None]:
    """The regions cannot see each other; the rest of the world sees both."""
    far = [*_node_addresses(REGIONS[other]), REGIONS[other].public]
    table = f"fault_{secrets.token_hex(4)}"
    text = _separation(table, far)
    with ExitStack() as stack:
        for node in REGIONS[one].nodes:
            undo = ("docker", "exec", node, "nft", "delete", "table", "ip", table)
            stack.enter_context(fault(partial(on_node, node, "nft", "-f", "-", stdin=text), undo, longest))
        yield


def _separation(table: str, far: Sequence[str]) -> str:
    """Before routing and after it, so that the node itself and its pods are cut off alike, translated or not."""
    addresses = f"{{ {', '.join(far)} }}"
    return (
        f"table ip {table} {{\n"
        f"  chain arriving {{ type filter hook prerouting priority -300; ip saddr {addresses} drop; }}\n"
        f"  chain leaving {{ type filter hook postrouting priority 300; ip daddr {addresses} drop; }}\n"
        "}"
    )


def _node_addresses(region: Region) -> list[str]:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return [run("docker", "inspect", "-f", template, node).strip() for node in region.nodes]


@contextmanager
def pod_address(region: str, namespace: str, pod: str, address: str, longest: float = 900.0) -> Iterator[None]:
    """A second address in a pod, as a node agent would give it: mail sent from it arrives with it.

    Take one from `network.address(…)`: the node answers for it on the Docker network, and it is not masqueraded.
    """
    target = pods.find(region, namespace, pod)
    if target.node not in REGIONS[region].nodes:
        raise TestbedError(f"{target.node} is no node of {region}")
    undo = ("docker", "exec", target.node, "sh", "-c", _address_script(target, address, add=False))
    with fault(lambda: on_node(target.node, "sh", "-ec", _address_script(target, address, add=True)), undo, longest):
        yield


def _address_script(target: PodOnNode, address: str, *, add: bool) -> str:
    cable = target.cable() if add else ""
    enter = " ".join(target.inside_command())
    if add:
        return (
            f"{enter} ip address replace {address}/32 dev eth0\n"
            f"ip route replace {address}/32 dev {cable}\n"
            f"ip neighbour replace proxy {address} dev eth0\n"
        )
    return (
        f"{enter} ip address del {address}/32 dev eth0\n"
        f"ip route del {address}/32\n"
        f"ip neighbour del proxy {address} dev eth0\n"
    )


def _stdin_to(target: PodOnNode, command: str) -> str:
    return f"{' '.join(target.inside_command())} {command}"


def _at(target: PodOnNode, *command: str) -> tuple[str, ...]:
    return ("docker", "exec", target.node, *target.inside_command(*command))
