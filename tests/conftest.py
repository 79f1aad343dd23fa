"""For all tests: examples of hypothesis have no time limit of their own, since speed is measured in benchmarks and not in unit tests; and a
test that outlives its own time limit ends the run and says where everything stands."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import sys
import threading
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("relayfleet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("relayfleet")

GRACE = 60.0
"""Seconds after a test's time limit."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """The time limit is an exception, and one that arises within some task of an event loop may be lost with that task."""
    marker = item.get_closest_marker("timeout")
    limit = float(marker.args[0] if marker and marker.args else item.config.getini("timeout"))
    last = threading.Timer(limit + GRACE, _give_up, (item,))
    last.daemon = True
    last.start()
    try:
        return (yield)
    finally:
        last.cancel()


def _give_up(item: pytest.Item) -> None:
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    print(f"\n{item.nodeid} outlived its time limit by {GRACE:.0f} s; every thread and task:", file=sys.stderr)
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    for task in [each for each in gc.get_objects() if isinstance(each, asyncio.Task) and not each.done()]:
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()
    os._exit(1)
