"""Asks a sink from a test: what came, what was done, and what it shall do from now on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp

Line = dict[str, Any]


class SinkError(Exception):
    """The sink refused a request; the text is its own."""


class SinkClient:
    """`url`: of the control service, such as http://127.0.0.1:8025. Records have the keys of `records.py`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    async def messages(self, since: int = 0) -> list[Line]:
        """All records from number `since` on."""
        return await self._lines("/messages", since)

    async def deeds(self, since: int = 0) -> list[Line]:
        """All scripted deeds from number `since` on."""
        return await self._lines("/deeds", since)

    async def wait_for(self, count: int, budget: float, such: Callable[[Line], bool] = lambda _: True) -> list[Line]:
        """At least `count` messages for which `such` holds, as soon as they are there. TimeoutError says what came instead."""
        found: list[Line] = []
        since = 0
        try:
            async with aiohttp.ClientSession() as http, asyncio.timeout(budget):
                while len(found) < count:
                    lines, since = await self._page(http, f"/messages?since={since}&wait=20")
                    found += filter(such, lines)
        except TimeoutError:
            raise TimeoutError(
                f"{len(found)} of {count} messages in {budget} s; the sink: {await self.stats()}"
            ) from None
        return found

    async def stats(self) -> Line:
        """Counts, see `server.Sink.stats`."""
        stats: Line = json.loads(await self._call("GET", "/stats"))
        return stats

    async def raw(self, number: int) -> bytes:
        """A whole message; SinkError when it is not kept."""
        return await self._call("GET", f"/messages/{number}/raw")

    async def put_rules(self, *rules: Line) -> None:
        """Replace all rules, see `rules.py`."""
        await self._call("PUT", "/rules", json.dumps(rules).encode())

    async def rules(self) -> list[Line]:
        """The rules, each with its `hits`."""
        rules: list[Line] = json.loads(await self._call("GET", "/rules"))
        return rules

    async def reset(self) -> None:
        """No rules, no messages."""
        await self._call("DELETE", "/rules")
        await self._call("DELETE", "/messages")

    async def _lines(self, path: str, since: int) -> list[Line]:
        lines: list[Line] = []
        async with aiohttp.ClientSession() as http:
            while True:
                page, since = await self._page(http, f"{path}?since={since}")
                if not page:
                    return lines
                lines += page

    async def _page(self, http: aiohttp.ClientSession, path: str) -> tuple[list[Line], int]:
        async with http.get(self.url + path) as answer:
            text = await answer.read()
            if answer.status != 200:
                raise SinkError(text.decode(errors="replace"))
            return [json.loads(line) for line in text.splitlines()], int(answer.headers["X-Next"])

    async def _call(self, method: str, path: str, body: bytes = b"") -> bytes:
        async with aiohttp.ClientSession() as http, http.request(method, self.url + path, data=body) as answer:
            text = await answer.read()
            if answer.status != 200:
                raise SinkError(text.decode(errors="replace"))
            return text
