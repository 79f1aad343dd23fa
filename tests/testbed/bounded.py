"""A fault that ends: when its block ends, and at the latest after its time, even if the test process is gone by then."""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from .shell import TestbedError, run

LONGEST = 60.0


@contextmanager
def fault(apply: Callable[[], object], undo: Sequence[str], longest: float = LONGEST) -> Iterator[None]:
    """`undo` is a command that may run twice: by the watchdog when time is up, and here."""
    watchdog = _watchdog(undo, longest)
    try:
        apply()
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(watchdog.pid, signal.SIGKILL)
        watchdog.wait()
        with suppress(TestbedError):  # what it acted on (a pod, a node) may be gone, and the fault with it
            run(*undo)


def _watchdog(undo: Sequence[str], longest: float) -> subprocess.Popen[bytes]:
    script = f"sleep {longest:.3f}; exec {shlex.join(undo)}"
    return subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
