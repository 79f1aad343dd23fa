"""Is the operator alive, and does it still see? Answers `/livez` and `/readyz`, and counts for `/metrics`.

A process whose loop is blocked cannot answer, so the kubelet restarts it: that needs no code. A watch that died behind a healthy
process does: the age of each watch is a metric. kopf renews a silent watch by itself (its inactivity timeout).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

log = logging.getLogger(__name__)


class Liveness:
    """What is known of the process's own health."""

    def __init__(self, leads: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._leads = leads
        self._clock = clock
        self._last_seen: dict[str, float] = {}
        self.registry = CollectorRegistry()
        leader = Gauge("relayfleet_operator_leader", "1 while this replica holds the lease.", registry=self.registry)
        leader.set_function(lambda: float(self._leads()))
        self._ages = Gauge(
            "relayfleet_operator_last_event_age_seconds",
            "Age of the last event that a watch has delivered.",
            ["watch"],
            registry=self.registry,
        )

    def saw(self, watch: str) -> None:
        """A watch has delivered an event."""
        if watch not in self._last_seen:
            self._ages.labels(watch).set_function(lambda: self._clock() - self._last_seen[watch])
        self._last_seen[watch] = self._clock()

    async def serve(self, port: int, started: asyncio.Event | None = None) -> None:
        """Serve until cancelled."""
        app = web.Application()
        app.router.add_get("/livez", self._alive)
        app.router.add_get("/readyz", self._alive)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, port=port).start()
            if started:
                started.set()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _alive(self, _: web.Request) -> web.Response:
        return web.Response(text="leader\n" if self._leads() else "standby\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self.registry), headers={"Content-Type": "text/plain; version=0.0.4"})
