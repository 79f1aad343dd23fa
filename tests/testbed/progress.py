"""Tells a waiting person what goes on: one line when a step starts, one when it ends, a heartbeat in between."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT = 20.0

_started = time.monotonic()
_print_lock = threading.Lock()


def say(text: str) -> None:
    """One line on standard error (standard output belongs to results), stamped with the seconds since the start."""
    with _print_lock:
        print(f"[{time.monotonic() - _started:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    began = time.monotonic()
    ended = threading.Event()
    say(f"start   {name}")
    heart = threading.Thread(target=_beat, args=(name, began, ended), daemon=True)
    heart.start()
    try:
        yield
    except BaseException:
        say(f"FAILED  {name} after {time.monotonic() - began:.1f} s")
        raise
    else:
        say(f"done    {name} ({time.monotonic() - began:.1f} s)")
    finally:
        ended.set()
        heart.join()


def _beat(name: str, began: float, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        say(f"        {name}: {time.monotonic() - began:.0f} s so far")
