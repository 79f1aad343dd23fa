"""What one operator costs with 10, 100 and 1,000 relays, and whether it heals itself.

The operator and its prober are the real processes, and so are the API server and etcd. Relays are simulated: one process answers SMTP at as
many addresses, and their pods are objects only, since there are no kubelets and no controllers. All of it lives in Linux namespaces of its own,
which needs root or unprivileged user namespaces. The test bed's clusters stand still meanwhile (SCALE_BESIDE=clusters leaves them running).

Environment: SCALE_SECONDS (of the whole; what does not fit is left out and said), SCALE_PARTS (`healing` and sizes, in order), SCALE_REST
(seconds of rest that are measured, at the most). Rows come as they are measured, progress goes to stderr, logs to build/bench/scale-logs. Whoever
ends it by SIGTERM or SIGINT ends all of it; after SIGKILL its folder of files stays in /tmp.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager

from tests.bench import _scale_plan as plan
from tests.bench._scale_cage import caged, child
from tests.bench._scale_plan import Part, Row
from tests.bench._scale_say import Say
from tests.testbed import binaries, clusters
from tests.testbed.faults import paused_region
from tests.testbed.settings import REGIONS

Cage = Callable[..., AbstractAsyncContextManager[asyncio.subprocess.Process]]

CLEAN = 3.0
"""Seconds before the end of a part in which nothing new is begun."""


async def run() -> AsyncGenerator[Row]:
    """The rows. RuntimeError, after the last of them, when a job broke."""
    parts = plan.parts(os.environ.get("SCALE_PARTS") or plan.DEFAULT)
    seconds, rest = (
        plan.seconds(name, os.environ.get(name) or str(default))
        for name, default in (("SCALE_SECONDS", plan.SECONDS), ("SCALE_REST", plan.REST))
    )
    say, missing, broken = Say(time.monotonic()), 0, list[str]()
    await _programs(say)
    with contextlib.ExitStack() as stack:
        _stop_others(stack, seconds, say)
        end = time.monotonic() + seconds
        say(f"{', '.join(each.name for each in parts)}; {seconds:.0f} s in all (SCALE_SECONDS)")
        for number, part in enumerate(parts):
            course = Course(part, plan.until(time.monotonic(), end, parts[number:]), rest, say)
            async with contextlib.aclosing(course.run()) as rows:
                async for row in rows:
                    missing += "left_out" in row["detail"]
                    yield row
            broken += course.broken
    say(f"the end; {missing} rows were left out" if missing else "the end; nothing was left out")
    if broken:
        raise RuntimeError(f"{'; '.join(broken)}; logs are in build/bench/scale-logs")


def _stop_others(stack: contextlib.ExitStack, seconds: float, say: Say) -> None:
    """Clusters without work still work."""
    for region in REGIONS.values():
        if os.environ.get("SCALE_BESIDE") != "clusters" and clusters.running(region):
            say(f"cluster {region.name} stands still meanwhile")
            stack.enter_context(paused_region(region.name, seconds + 60.0))


async def _programs(say: Say) -> None:
    """Those of the control plane. To build them takes long, once, and is not measured."""
    if binaries.ETCD.built and binaries.KUBERNETES.built:
        return
    say("etcd and Kubernetes are built first, which takes many minutes, once")
    async with child(sys.executable, "-m", "tests.bench._apiserver") as building:
        if await building.wait():
            raise RuntimeError("etcd or Kubernetes could not be built; see above")


class Course:
    """One part: its jobs, side by side, and their rows. `until`: when it is over (monotonic), whatever its jobs do; `broken`: those that did not
    end well, in words."""

    def __init__(self, part: Part, until: float, rest: float, say: Say, cage: Cage = caged) -> None:
        self._part, self._until, self._rest, self._say, self._cage = part, until, rest, say, cage
        self._rows: asyncio.Queue[Row | None] = asyncio.Queue()
        self._why: dict[str, str] = {}
        self.broken: list[str] = []

    async def run(self) -> AsyncGenerator[Row]:
        """Its rows, and at last one without a value for each that is missing."""
        self._say(f"{self._part.name}: begins, for {self._until - time.monotonic():.0f} s at the most")
        jobs, measured = asyncio.create_task(self._jobs()), set[str]()
        try:
            while (row := await self._rows.get()) is not None:
                measured.add(row["name"])
                yield row
            await jobs
        finally:
            jobs.cancel()
            await asyncio.gather(jobs, return_exceptions=True)
        for row in plan.left_out(self._part, measured, self._why):
            self._say(f"{row['name']} is left out: {row['detail']['left_out']}")
            yield row

    async def _jobs(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for each in self._part.jobs:
                    group.create_task(self._job(each))
        finally:
            self._rows.put_nowait(None)

    async def _job(self, name: str) -> None:
        """One process in namespaces of its own, whose time is limited."""
        with tempfile.TemporaryDirectory(prefix="relayfleet-scale-", ignore_cleanup_errors=True) as folder:
            words = (name, folder, self._until - CLEAN, self._rest, self._say.began)
            try:
                async with (
                    asyncio.timeout(max(0.0, self._until - time.monotonic())),
                    self._cage(sys.executable, "-m", "tests.bench._scale_inside", *map(str, words)) as process,
                ):
                    await self._read(name, process)
            except TimeoutError:
                self._why[name] = "its time was over"

    async def _read(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            if isinstance(said := json.loads(line), str):
                self._why[name] = said
            else:
                self._rows.put_nowait(said)
        if status := await process.wait():
            self.broken.append(f"{name} ended with {status}")
            self._why[name] = f"it ended with {status}, see build/bench/scale-logs"
