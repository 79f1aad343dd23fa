"""What the machine still has for this process: file descriptors, and the memory of its control group."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

PROC = Path("/proc/self")
CGROUP = Path("/sys/fs/cgroup")


def open_files(proc: Path = PROC) -> tuple[int, int]:
    """File descriptors in use, and how many there may be. Where they cannot be counted: none in use."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        return sum(1 for _ in (proc / "fd").iterdir()), limit
    except OSError as error:
        # Counting takes a descriptor too.
        return (limit if error.errno in (errno.EMFILE, errno.ENFILE) else 0), limit


def memory(cgroup: Path = CGROUP) -> tuple[int, int]:
    """Bytes that the kernel cannot take back, and how many there may be; (0, 0) without a limit, and where there is no cgroup of version 2."""
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        words = (line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        held = sum(int(value) for name, value in words if name in ("anon", "unevictable"))
    except (OSError, ValueError):
        return 0, 0
    return (held, int(limit)) if limit.isdecimal() else (0, 0)
