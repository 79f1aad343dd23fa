#!/usr/bin/python3
"""An OCI runtime in front of runc, for machines that lack a capability which Docker wants to give (CAP_SYS_RESOURCE, say).

`docker run --privileged` asks for all capabilities, and runc fails when the machine does not have one of them. This cuts the
container's capabilities down to what there is, drops resource limits that could not be set either, and execs runc.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

NAMES = (  # noqa: SIM905 - forty names read better as words
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST "
    "NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM "
    "BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
"""In the order of their bits."""


def there_are() -> set[str]:
    """The capabilities of this machine's bounding set."""
    status = Path("/proc/self/status").read_text()
    (bits,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))
    return {f"CAP_{name}" for bit, name in enumerate(NAMES) if bits >> bit & 1}


def cut(process: dict[str, Any], available: set[str]) -> None:
    """Leave a process only what there is."""
    for kind, names in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [name for name in names or () if name in available]
    process.pop("rlimits", None)
    process.pop("oomScoreAdj", None)


def main(arguments: list[str]) -> None:
    """Edit the file that runc is about to read, then become runc."""
    available = there_are()
    if "create" in arguments or "run" in arguments:
        path = Path(arguments[arguments.index("--bundle") + 1]) / "config.json"
        config = json.loads(path.read_text())
        cut(config["process"], available)
        path.write_text(json.dumps(config))
    elif "exec" in arguments and "--process" in arguments:
        path = Path(arguments[arguments.index("--process") + 1])
        process = json.loads(path.read_text())
        cut(process, available)
        path.write_text(json.dumps(process))
    os.execvp("runc", ["runc", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
