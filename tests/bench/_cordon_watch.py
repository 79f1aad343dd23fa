"""When the API server says that a relay is out, and when it tells people: watches EndpointSlices and Events of a namespace."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from relayfleet.api.labels import FIELD_MANAGER, SLICE_SERVICE
from relayfleet.kube.resources import RESOURCES
from tests.e2e.api import Access


@dataclass(slots=True)
class Seen:
    """What the watches have told so far. Times are CLOCK_MONOTONIC."""

    slices: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: list[tuple[float, str, frozenset[str]]] = field(default_factory=list)
    events: list[tuple[float, str, str]] = field(default_factory=list)

    def ready(self, service: str) -> frozenset[str]:
        """Addresses that take new connections of a Service."""
        return frozenset(
            address
            for each in self.slices.values()
            if each["metadata"].get("labels", {}).get(SLICE_SERVICE) == service
            for endpoint in each.get("endpoints") or []
            if endpoint.get("conditions", {}).get("ready")
            for address in endpoint["addresses"]
        )

    def lanes(self, service: str) -> int:
        """How many slices of a Service have endpoints."""
        ours = [
            each for each in self.slices.values() if each["metadata"].get("labels", {}).get(SLICE_SERVICE) == service
        ]
        return sum(bool(each.get("endpoints")) for each in ours)

    def out_at(self, service: str, address: str, since: float) -> float | None:
        """When the address was first not listed as ready after `since`."""
        return next(
            (at for at, name, ready in self.changes if name == service and at > since and address not in ready), None
        )

    def told_at(self, since: float, words: str) -> tuple[float, str] | None:
        """Time and reason of the first event of ours after `since` that has one of these words in its text."""
        return next(((at, reason) for at, reason, text in self.events if at > since and words in text), None)

    def forget(self) -> None:
        """Before the next trial."""
        self.changes.clear()
        self.events.clear()


@asynccontextmanager
async def watching(access: Access, namespace: str) -> AsyncIterator[Seen]:
    """While the block runs."""
    seen = Seen()
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=access.tls)) as http:
        tasks = [
            asyncio.create_task(_follow(http, access, namespace, kind, seen)) for kind in ("EndpointSlice", "Event")
        ]
        try:
            yield seen
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(http: aiohttp.ClientSession, access: Access, namespace: str, kind: str, seen: Seen) -> None:
    """Begins anew, with all that is there, whenever the API server ends the watch."""
    url = access.url + RESOURCES[kind].path(namespace)
    while True:
        try:
            async with http.get(url, params={"watch": "true"}, read_bufsize=1 << 20) as answer:
                async for line in answer.content:
                    _note(seen, kind, json.loads(line))
        except (aiohttp.ClientError, ValueError):
            pass
        await asyncio.sleep(0.2)


def _note(seen: Seen, kind: str, change: dict[str, Any]) -> None:
    now, obj = time.monotonic(), change["object"]
    if change["type"] not in ("ADDED", "MODIFIED", "DELETED"):
        return
    if kind == "Event":
        if obj.get("reportingComponent") == FIELD_MANAGER:
            seen.events.append((now, str(obj.get("reason")), str(obj.get("message"))))
        return
    name, service = obj["metadata"]["name"], obj["metadata"].get("labels", {}).get(SLICE_SERVICE, "")
    if change["type"] == "DELETED":
        seen.slices.pop(name, None)
    else:
        seen.slices[name] = obj
    seen.changes.append((now, service, seen.ready(service)))
