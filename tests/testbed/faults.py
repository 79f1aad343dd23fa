"""Faults of machines and processes. Every one is a context manager that undoes itself, and is bounded in time.

    with faults.frozen_pod("eu", "mail", "relay-0"):
        ...

Faults of the network are in network_faults.py.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from . import pods
from .bounded import LONGEST, fault
from .network import on_node
from .settings import REGIONS
from .shell import run


@contextmanager
def paused_node(node: str, longest: float = LONGEST) -> Iterator[None]:
    """A machine that stands still: connections stay open, nothing answers."""
    with fault(lambda: run("docker", "pause", node), ("docker", "unpause", node), longest):
        yield


@contextmanager
def paused_region(region: str, longest: float = LONGEST) -> Iterator[None]:
    """A region that stands still, control plane included."""
    with ExitStack() as stack:
        for node in REGIONS[region].nodes:
            stack.enter_context(paused_node(node, longest))
        yield


@contextmanager
def stopped_api_server(region: str, longest: float = LONGEST) -> Iterator[None]:
    """The API server answers nobody; kubelets and kube-proxies go on with what they know."""
    node = REGIONS[region].control_plane
    with frozen_processes(node, on_node(node, "pgrep", "-x", "kube-apiserver").split(), longest):
        yield


@contextmanager
def frozen_pod(region: str, namespace: str, pod: str, container: str = "", longest: float = LONGEST) -> Iterator[None]:
    """SIGSTOP to all processes of a container: sockets stay open, the kernel still accepts and acknowledges."""
    target = pods.find(region, namespace, pod, container)
    with frozen_processes(target.node, [str(process) for process in target.processes()], longest):
        yield


@contextmanager
def frozen_processes(node: str, processes: Sequence[str], longest: float = LONGEST) -> Iterator[None]:
    undo = ("docker", "exec", node, "kill", "-CONT", *processes)
    with fault(lambda: on_node(node, "kill", "-STOP", *processes), undo, longest):
        yield


def kill_pod_process(region: str, namespace: str, pod: str, container: str = "") -> None:
    """SIGKILL to a container's first process, which takes the others with it. The kubelet starts it again."""
    target = pods.find(region, namespace, pod, container)
    on_node(target.node, "kill", "-KILL", str(target.main))
