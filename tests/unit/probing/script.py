"""An SMTP server that answers each verb as a test says, and remembers what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from relayfleet.observe.probing.fleet import Fleet
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.protocol.probing import Target

ADDRESS = "w0rd@discard.relayfleet.invalid"
USUAL = {"EHLO": "250-x\r\n250 PIPELINING", "DATA": "354 go on", ".": "250 queued"}


@dataclass
class Script:
    """`says` overrides the usual answers by verb ("." is the end of a message); "" says nothing, "!" resets. `heard`: the verbs of each
    session; `writes`: what came in one piece; `greets`: so many sessions are greeted, later ones are taken and left waiting."""

    says: Mapping[str, str] = field(default_factory=dict)
    heard: list[list[str]] = field(default_factory=list)
    writes: list[bytes] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    greets: float = math.inf

    @property
    def mailing(self) -> list[list[str]]:
        """The sessions in which MAIL was said."""
        return [each for each in self.heard if "MAIL" in each]


class _Session(asyncio.Protocol):
    def __init__(self, script: Script) -> None:
        self._script = script
        self._heard: list[str] = []
        self._message: bytes | None = None
        script.heard.append(self._heard)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._script.heard) <= self._script.greets:
            transport.write(b"220 x\r\n")

    def data_received(self, data: bytes) -> None:
        self._script.writes.append(data)
        for line in data.splitlines(keepends=True):
            if self._message is not None and line != b".\r\n":
                self._message += line
            else:
                self._answer("." if self._message is not None else line[:4].decode())

    def _answer(self, verb: str) -> None:
        if verb == ".":
            assert self._message is not None
            self._script.messages.append(self._message)
            self._message = None
        self._heard.append(verb)
        words = self._script.says.get(verb, USUAL.get(verb, "250 ok"))
        if words == "!":
            self._transport.abort()
        elif words:
            self._message = b"" if words.startswith("354") else None
            self._transport.write(f"{words}\r\n".encode())
            if words.startswith("421"):
                self._transport.close()


@dataclass
class Scene:
    """A scripted server and what a prober saw of it."""

    script: Script
    seen: list[Sighting]
    fleet: Fleet
    target: Target

    def of(self, *probes: str) -> list[Sighting]:
        """What was seen by mails, or by these probes."""
        return [each for each in self.seen if each.probe in (probes or ("Transaction", "Storage"))]

    def failures(self) -> list[tuple[str, str, int]]:
        """Of mails."""
        return [(each.kind, each.probe, each.code) for each in self.of() if each.kind != "Answered"]


@contextlib.asynccontextmanager
async def probed(discard: str = ADDRESS, **says: str) -> AsyncIterator[Scene]:
    """A server that is probed: NOOPs each 20 ms, light mails each second, full ones each ten (see `paces`). DOT stands for "."."""
    script = Script({"." if verb == "DOT" else verb: words for verb, words in says.items()})
    server = await asyncio.get_running_loop().create_server(lambda: _Session(script), "127.0.0.1", 0)
    target = Target("r", "127.0.0.1", server.sockets[0].getsockname()[1], interval=0.02, timeout=0.1, discard=discard)
    seen: list[Sighting] = []
    fleet = Fleet(seen.append)
    fleet.watch([target])
    try:
        yield Scene(script, seen, fleet, target)
    finally:
        fleet.close()
        server.close()
