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


_LIST = r"""list() {
  table=$(ctr -n k8s.io tasks ps $1) || return 1
  echo "$table" | sed -n 's/^ *\([0-9][0-9]*\).*/\1/p'
}"""
STAND_STILL = f"""{_LIST}
looks=0
while :; do
  processes=$(list $1) && [ "$processes" ] || exit 1
  moving= looks=$((looks + 1))
  for process in $processes; do
    state=$(sed 's/.*) //;s/ .*//' /proc/$process/stat 2>/dev/null) || continue
    case $state in
      T|Z|X) continue ;;
      D) [ $looks -gt 100 ] || moving=yes ;;
      *) moving=yes ;;
    esac
    kill -STOP $process 2>/dev/null
  done
  [ $moving ] || exit 0
  sleep 0.01
done"""
"""Stops what a node's container runs. Processes end, and others begin, between a look at them and a signal, which takes effect some time later: so
again and again, until a look shows none that moves. Those were all, since one that does not move makes no other. In D is also who waits for a child
that was stopped before it became another program (vfork): that lasts."""
GO_ON = f"""{_LIST}
for process in $(list $1); do kill -CONT $process 2>/dev/null; done
exit 0"""


@contextmanager
def frozen_pod(region: str, namespace: str, pod: str, container: str = "", longest: float = LONGEST) -> Iterator[None]:
    """SIGSTOP to all processes of a container: sockets stay open, the kernel still accepts and acknowledges. A broker's first process is a
    shell that only waits, a database makes one for each connection."""
    target = pods.find(region, namespace, pod, container)
    stop, undo = (("sh", "-c", script, "sh", target.container) for script in (STAND_STILL, GO_ON))
    with fault(lambda: on_node(target.node, *stop), ("docker", "exec", target.node, *undo), longest):
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
