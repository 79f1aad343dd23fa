"""What this machine can and cannot do, in words: each finding says what follows from it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from . import bridges, engine, policies, settings
from .kernel import kernel_option
from .shell import TestbedError, run

INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
ENOUGH_INOTIFY = 512


def report() -> None:
    for name, check in CHECKS.items():
        try:
            print(f"{name}: {check()}")
        except TestbedError as problem:
            print(f"{name}: {problem}")


def _engine() -> str:
    if not engine.running():
        return "no Docker Engine answers"
    return run("docker", "version", "--format", "{{.Server.Version}} on kernel {{.Server.KernelVersion}}").strip()


def _bridges() -> str:
    if not engine.running():
        return "no Docker Engine says which are its own"
    return "; ".join(each.cure() for each in bridges.found()) or "none is left of an engine that is gone"


def _go() -> str:
    needed = "not installed (needed only where images cannot be pulled)"
    return run("go", "version").strip() if shutil.which("go") else needed


def _capabilities() -> str:
    mask = next(line.split()[1] for line in _lines("/proc/self/status") if line.startswith("CapBnd:"))
    if int(mask, 16) >> 24 & 1:
        return "CAP_SYS_RESOURCE is there"
    return "no CAP_SYS_RESOURCE: containers start through an OCI wrapper that asks for less (oci_runtime.py)"


def _cgroups() -> str:
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return "v2" if unified else "v1: the kubelet is told to accept it (failCgroupV1: false)"


def _inotify() -> str:
    value = int(INOTIFY_INSTANCES.read_text())
    if value >= ENOUGH_INOTIFY:
        return f"{value} instances a user"
    return f"{value} instances a user are too few for two clusters; `sysctl fs.inotify.max_user_instances={ENOUGH_INOTIFY}`"


def _netem() -> str:
    if kernel_option("NET_SCH_NETEM") is False:
        return "this kernel has no netem: faults drop packets by nftables and cannot delay them"
    return "netem is there or may be (delay and loss)"


def _network_policy() -> str:
    if missing := policies.lacking():
        return f"stored and not enforced: this machine lacks {', '.join(missing)}"
    return "enforced, through xtables' NFQUEUE (see policies.py)"


def _disk() -> str:
    usage = shutil.disk_usage(settings.CACHE if settings.CACHE.exists() else Path.home())
    return f"{usage.free // 2**30} GiB free (some 15 are used)"


CHECKS: dict[str, Callable[[], str]] = {
    "Docker Engine": _engine,
    "bridges": _bridges,
    "Go": _go,
    "root": lambda: "yes" if os.geteuid() == 0 else "no (fine where an engine runs and images can be pulled)",
    "capabilities": _capabilities,
    "cgroups": _cgroups,
    "inotify": _inotify,
    "packet delay and loss": _netem,
    "NetworkPolicy": _network_policy,
    "disk": _disk,
}


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
