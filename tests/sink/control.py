"""The sink's control service: small HTTP/1.1, one request a connection.

    GET    /healthz
    GET    /stats
    GET    /messages?since=N&limit=L&wait=S     JSON lines from number N on, at most L (default 10000, at most 50000); with `wait`
                                                it waits up to S seconds for the first. Header X-Next: the number to go on with
    GET    /deeds?since=N&limit=L&wait=S        the same for scripted deeds
    GET    /messages/N/raw                      the message as it came (--keep-raw)
    DELETE /messages                            forget messages, deeds and counts
    GET    /rules    PUT /rules    DELETE /rules    see `rules.py`; GET shows the hits of each

400 says what is wrong with a request, 404 that there is no such thing.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.sink.blocks import Blocks
from tests.sink.rules import RuleError
from tests.sink.script import Script

REQUEST_SECONDS = 60.0
WAIT_MAX = 50.0
BODY_MAX = 4 * 1024**2
PAGE = 10_000
PAGE_MAX = 50_000


class Host(Protocol):
    """What is controlled."""

    script: Script
    messages: Blocks
    deeds: Blocks

    def stats(self) -> dict[str, object]: ...

    def raw(self, number: int) -> bytes | None: ...

    def forget(self) -> None: ...


class BadRequest(Exception):  # noqa: N818 - the name of the answer
    """The request makes no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`more`: header lines beside the usual."""

    status: str
    body: bytes
    type: str = "application/json"
    more: str = ""


def _json(document: Any, status: str = "200 OK") -> Answer:
    return Answer(status, json.dumps(document).encode() + b"\n")


class Control:
    """Serves connections for `asyncio.start_server`."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                answer = await self._answer(reader)
                head = (
                    f"HTTP/1.1 {answer.status}\r\nContent-Type: {answer.type}\r\nContent-Length: {len(answer.body)}\r\n"
                )
                writer.write(f"{head}{answer.more}Connection: close\r\n\r\n".encode() + answer.body)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client is gone, or none at all
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> Answer:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        try:
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            body = await self._body(head, reader)
            return await self._route(method, target, body)
        except (BadRequest, RuleError) as error:
            return _json({"error": str(error)}, "400 Bad Request")
        except ValueError:
            return _json({"error": "not an HTTP request that is understood here"}, "400 Bad Request")

    @staticmethod
    async def _body(head: str, reader: asyncio.StreamReader) -> bytes:
        lengths = [line[15:] for line in head.split("\r\n") if line.lower().startswith("content-length:")]
        length = int(lengths[0]) if lengths else 0
        if length > BODY_MAX:
            raise BadRequest(f"the body may have {BODY_MAX} bytes")
        return await reader.readexactly(length)

    async def _route(self, method: str, target: str, body: bytes) -> Answer:
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        match method, url.path.strip("/").split("/"):
            case "GET", ["healthz"]:
                return _json({"ok": True})
            case "GET", ["stats"]:
                return _json(self._host.stats())
            case "GET", ["messages"]:
                return await _page(self._host.messages, query)
            case "GET", ["deeds"]:
                return await _page(self._host.deeds, query)
            case "GET", ["messages", number, "raw"]:
                return self._raw(number)
            case "DELETE", ["messages"]:
                self._host.forget()
                return _json({"ok": True})
            case (("GET" | "PUT" | "DELETE"), ["rules"]):
                return self._rules(method, body)
        return _json({"error": f"no {method} {url.path} here"}, "404 Not Found")

    def _raw(self, number: str) -> Answer:
        raw = self._host.raw(int(number))
        if raw is None:
            return _json({"error": f"message {number} is not kept; start the sink with --keep-raw"}, "404 Not Found")
        return Answer("200 OK", raw, "message/rfc822")

    def _rules(self, method: str, body: bytes) -> Answer:
        if method != "GET":
            try:
                document = json.loads(body) if method == "PUT" else []
            except ValueError as error:
                raise BadRequest(f"rules must be JSON: {error}") from error
            self._host.script.put(document)
        return _json([{**rule.document, "hits": rule.hits} for rule in self._host.script.rules])


async def _page(blocks: Blocks, query: dict[str, str]) -> Answer:
    since = int(query.get("since", "0"))
    limit = min(int(query.get("limit", PAGE)), PAGE_MAX)
    if wait := min(float(query.get("wait", "0")), WAIT_MAX):
        await blocks.wait(since, wait)
    lines, following = blocks.page(since, limit)
    body = b"".join(line + b"\n" for line in lines)
    return Answer("200 OK", body, "application/jsonl", f"X-Next: {following}\r\n")
