"""Pods as this machine sees them: their processes, by which it reaches into their networks without the delay of `docker exec`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.shell import TestbedError, run


@dataclass(frozen=True, slots=True)
class Pod:
    """`main`: process of the relay; `holder`: the one that holds the pod's network and outlives it. Numbers of this machine."""

    name: str
    address: str
    node: str
    main: int
    holder: int


def located(pod: dict[str, Any]) -> Pod:
    """A running pod of ours; TestbedError: its processes are not on this machine."""
    found = _processes(str(pod["metadata"]["uid"]))
    holder = next((number for number, command in found.items() if b"pause" in command), 0)
    others = [number for number, command in found.items() if b"pause" not in command and command]
    if not holder or not others:
        raise TestbedError(
            f"no processes of pod {pod['metadata']['name']} on this machine: the benchmark wants to run as root where the engine runs"
        )
    return Pod(pod["metadata"]["name"], pod["status"]["podIP"], pod["spec"]["nodeName"], min(others), holder)


def node_process(node: str) -> int:
    """The first process of a node."""
    return int(run("docker", "inspect", "--format", "{{.State.Pid}}", node))


def nft(node: int, holder: int) -> tuple[str, ...]:
    """The node's nft, in a pod's network."""
    return ("nsenter", f"--mount=/proc/{node}/ns/mnt", f"--net=/proc/{holder}/ns/net", "nft")


def _processes(uid: str) -> dict[int, bytes]:
    found = {}
    names = (uid, uid.replace("-", "_"))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(name in (folder / "cgroup").read_text() for name in names):
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
    return found
