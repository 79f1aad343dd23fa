"""SIGSTOP takes effect some time after it was sent, later on busy cores: until then the process goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

PATIENCE = 20.0


def stop(process: int) -> None:
    """Returns when it stands still, or has ended."""
    os.kill(process, signal.SIGSTOP)
    until_still(process)


def until_still(process: int) -> None:
    """For one that somebody else has sent the signal to."""
    deadline = time.monotonic() + PATIENCE
    while (seen := state(process)) not in ("T", "Z", ""):
        assert time.monotonic() < deadline, f"process {process} does not stand still: {seen}"
        time.sleep(0.001)


def state(process: int) -> str:
    """As in /proc: R, S, T, Z and so on; "" when there is none of that number."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
