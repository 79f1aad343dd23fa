"""What one operator costs with 10, 100 and 1,000 relays, and whether it heals itself.

The operator and its prober are the real processes, and so are the API server and etcd. Relays are simulated: one process answers SMTP at as
many addresses, and their pods are objects only, since there are no kubelets and no controllers. SCALE_SIZES and SCALE_REST (seconds) may be
set. All of it lives in Linux namespaces of its own, which needs root or unprivileged user namespaces.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

NAMESPACES = ("--net", "--pid", "--fork", "--kill-child", "--mount-proc")


async def run() -> list[dict[str, Any]]:
    """The rows."""
    root = () if os.geteuid() == 0 else ("--map-root-user",)
    words = ("unshare", *root, *NAMESPACES, sys.executable, "-m", "tests.bench._scale_inside")
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()  # and with it, by --kill-child, all that it started
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"the benchmark ended with {process.returncode}; logs are in build/bench/scale-logs")
    return [json.loads(line) for line in out.splitlines()]
