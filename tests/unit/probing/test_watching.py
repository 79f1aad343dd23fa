"""Watchers against real sockets: the relay's own SMTP server, and servers that do not behave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from relayfleet.observe.probing.fleet import Fleet
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.protocol.probing import Target
from relayfleet.protocol.relay_config import TlsMode
from tests.relay.server.certificates import write_certificate
from tests.relay.server.harness import config, eventually, serving


class Server(asyncio.Protocol):
    """Says `banner`, and `reply` to every line; None: nothing. `then` happens after the banner."""

    def __init__(self, banner: bytes | None, reply: bytes | None, then: Callable[[asyncio.Transport], None]) -> None:
        self._banner, self._reply, self._then = banner, reply, then

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._banner is not None:
            transport.write(self._banner)
        self._then(transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"EHLO"):
            self._transport.write(b"250-x\r\n250 OK\r\n")
        elif self._reply is not None:
            self._transport.write(self._reply)


@contextlib.asynccontextmanager
async def behaving(
    banner: bytes | None, reply: bytes | None = None, then: Callable[[asyncio.Transport], None] = lambda transport: None
) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: Server(banner, reply, then), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def watching(port: int, *, tls: bool = False, proxies: tuple[str, ...] = ()) -> AsyncIterator[list[Sighting]]:
    seen: list[Sighting] = []
    fleet = Fleet(seen.append)
    fleet.watch([Target("r", "127.0.0.1", port, implicit_tls=tls, interval=0.05, proxy_sources=proxies)])
    try:
        yield seen
    finally:
        fleet.close()


def kinds(seen: list[Sighting]) -> list[str]:
    return [each.kind for each in seen]


async def test_a_relay_that_serves_is_seen_to_answer() -> None:
    async with serving() as server, watching(server.ports["smtp"][0]) as seen:
        await eventually(lambda: kinds(seen).count("Answered") >= 5, "five answers")
        assert server.counters.sessions >= 1
    assert {each.kind for each in seen} <= {"Answered", "Silent"}


@pytest.mark.parametrize("tls", ["None", "Implicit"])
@pytest.mark.parametrize("proxies", [(), ("127.0.0.0/8",), ("198.18.0.0/15",)])
async def test_a_relay_is_reached_by_tls_and_behind_balancers(
    tls: TlsMode, proxies: tuple[str, ...], tmp_path: Path
) -> None:
    settings = config(tls=tls, proxies=proxies)
    write_certificate(tmp_path, "relay.example")
    async with (
        serving(settings, tls_folder=tmp_path) as server,
        watching(server.ports["smtp"][0], tls=tls == "Implicit", proxies=proxies) as seen,
    ):
        await eventually(lambda: kinds(seen).count("Answered") >= 5, "five answers")
    assert {each.kind for each in seen} <= {"Answered", "Silent"}


@pytest.mark.parametrize(
    ("banner", "reply", "kind"),
    [
        (None, None, "Silent"),
        (b"220 x\r\n", None, "Silent"),
        (b"SSH-2.0-x\r\n", None, "Reset"),
        (b"220-" + b"x" * 5000, None, "Reset"),
        (b"220-x\r\n" * 200, None, "Reset"),
        (b"220 x\r\n", b"451 no\r\n", "Erred"),
        (b"554 no\r\n", None, "Erred"),
        (b"421 full\r\n", None, "Answered"),
    ],
)
async def test_what_a_server_does_is_told_in_its_word(banner: bytes | None, reply: bytes | None, kind: str) -> None:
    async with behaving(banner, reply) as port, watching(port) as seen:
        await eventually(lambda: kind in kinds(seen), kind)


async def test_a_session_that_is_reset_is_tried_again_and_each_reset_is_told() -> None:
    async with behaving(b"220 x\r\n", None, lambda transport: transport.abort()) as port, watching(port) as seen:
        await eventually(lambda: kinds(seen).count("Reset") >= 2, "two resets")


async def test_a_port_on_which_nothing_listens_is_refused_more_than_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with watching(taken.getsockname()[1]) as seen:
            await eventually(lambda: kinds(seen).count("Refused") >= 2, "two refusals")


async def test_a_silence_is_stated_anew_and_probed_on_fresh_sockets() -> None:
    async with behaving(None) as port, watching(port) as seen:
        await eventually(lambda: any(len(each.sent) >= 4 for each in seen), "four open probes")
    silent = [each for each in seen if each.kind == "Silent"]
    assert all(list(each.sent) == sorted(each.sent) for each in silent)
