"""The part of a kubelet that matters to a process that hangs: the liveness probe, with the numbers of the chart."""

from __future__ import annotations

import asyncio
import re
import signal
import time

from tests.bench._scale_operator import Operator
from tests.testbed.settings import ROOT

_CHART = ROOT / "charts" / "relayfleet" / "templates" / "deployment.yaml"


class Kubelet:
    """Probes one operator, and ends it as a kubelet would: SIGTERM, and SIGKILL when its time is over. Times in seconds."""

    def __init__(self, operator: Operator) -> None:
        text = _CHART.read_text()
        probe = text[text.index("livenessProbe:") : text.index("readinessProbe:")]
        self._operator = operator
        self.period, self._timeout = _number(probe, "periodSeconds"), _number(probe, "timeoutSeconds")
        self._failures = int(_number(probe, "failureThreshold"))
        self._grace = _number(text, "terminationGracePeriodSeconds")

    async def until_killed(self) -> float:
        """Returns when the process was found dead (monotonic); by then it has ended."""
        failures = 0
        while failures < self._failures:
            began = time.monotonic()
            failures = 0 if await self._operator.alive(self._timeout) else failures + 1
            if failures < self._failures:
                await asyncio.sleep(max(0.0, began + self.period - time.monotonic()))
        noticed = time.monotonic()
        await self._end()
        return noticed

    async def _end(self) -> None:
        self._operator.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._grace):
                await self._operator.process.wait()
        except TimeoutError:
            self._operator.signal(signal.SIGKILL)
            await self._operator.process.wait()


def _number(text: str, name: str) -> float:
    found = re.search(rf"{name}: (\d+)", text)
    if found is None:
        raise ValueError(f"the chart has no {name}")
    return float(found[1])
