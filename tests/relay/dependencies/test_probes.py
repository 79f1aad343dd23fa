"""TCP and HTTP probes against real sockets: every way not to answer is told apart, none of them takes long or much."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayfleet.protocol.dependency import HttpTarget, TcpTarget, Trust
from relayfleet.relay.dependencies.http import HttpProbe
from relayfleet.relay.dependencies.outcome import ANSWERED, Kind
from relayfleet.relay.dependencies.reaching import Names, Reach, Stage
from relayfleet.relay.dependencies.tcp import TcpProbe
from tests.relay.dependencies.servers import babbling, closed_port, hang, outcome, saying, serving, unanswering
from tests.relay.server.certificates import write_certificate

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOWHERE = Path("/nonexistent")
DEADLINE = 1.0
"""Long enough for a busy machine to have connected by then: what took too long is told by how far a probe has come."""


@pytest.fixture
def names() -> Iterator[Names]:
    found = Names()
    yield found
    found.close()


def http(url: str, names: Names, folder: Path = NOWHERE, trust: Trust | None = None) -> HttpProbe:
    return HttpProbe(HttpTarget(url, trust), names, folder)


async def test_a_port_that_takes_connections_answers(names: Names) -> None:
    async with serving(hang) as server:
        assert await outcome(TcpProbe(TcpTarget(server.address), names)) == ANSWERED
        assert await outcome(TcpProbe(TcpTarget(f"localhost:{server.port}"), names)) == ANSWERED


async def test_a_port_at_which_nobody_listens_refuses(names: Names) -> None:
    found = await outcome(TcpProbe(TcpTarget(f"127.0.0.1:{closed_port()}"), names))
    assert (found.kind, found.why) == (Kind.FAILED, "cannot be connected to: Connection refused")


@pytest.mark.parametrize("kind", ["tcp", "http"])
async def test_a_host_that_is_off_is_a_timeout_of_connecting(names: Names, kind: str) -> None:
    with unanswering() as address:
        probe = TcpProbe(TcpTarget(address), names) if kind == "tcp" else http(f"http://{address}/", names)
        began = time.monotonic()
        found = await outcome(probe, DEADLINE)
    assert (found.kind, found.why) == (Kind.TIMED_OUT_CONNECTING, "took more than 1 s to connect")
    assert time.monotonic() - began < DEADLINE + 10.0


async def test_a_name_that_does_not_exist_is_named(names: Names) -> None:
    found = await outcome(TcpProbe(TcpTarget("nobody.invalid:80"), names), 10.0)
    assert found.kind is Kind.FAILED
    assert "its name nobody.invalid does not resolve" in found.why


async def test_probes_of_a_name_that_hangs_wait_for_the_same_look_up(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, known = [], threading.Event()

    def slow(host: str, port: int) -> list[str]:
        asked.append(host)
        assert known.wait(20)
        return ["127.0.0.1"]

    monkeypatch.setattr("relayfleet.relay.dependencies.reaching._resolve", slow)
    async with serving(hang) as server:
        probe = TcpProbe(TcpTarget(f"slow.example:{server.port}"), names)
        for _ in range(3):
            found = await outcome(probe, 0.05)
            assert (found.kind, found.why) == (Kind.FAILED, "took more than 0.05 s to look up its name")
        known.set()
        assert await outcome(probe, 5.0) == ANSWERED
    assert asked == ["slow.example"]


async def test_the_next_address_of_a_name_is_tried(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "relayfleet.relay.dependencies.reaching._resolve", lambda host, port: ["127.0.0.2", "127.0.0.1"]
    )
    async with serving(hang) as server:
        transport, _ = await Reach(names, "two.example", server.port).connect(asyncio.Protocol, Stage())
        assert transport.get_extra_info("peername")[0] == "127.0.0.1"
        transport.close()


async def test_a_url_that_answers_is_asked_in_its_own_words(names: Names) -> None:
    heard: list[bytes] = []
    async with serving(saying(OK, heard)) as server:
        assert await outcome(http(f"{server.url}?deep=1", names)) == ANSWERED
        assert await outcome(http(f"http://{server.address}", names)) == ANSWERED
    first, second = heard
    assert first.startswith(b"GET /healthz?deep=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % server.port)
    assert second.startswith(b"GET / HTTP/1.1\r\n")
    assert b"\r\nConnection: close\r\n" in first


@pytest.mark.parametrize(
    ("status", "answers"), [(200, True), (204, True), (302, True), (400, False), (404, False), (503, False)]
)
async def test_the_status_decides(names: Names, status: int, answers: bool) -> None:
    async with serving(saying(b"HTTP/1.1 %d Whatever\r\n\r\n" % status)) as server:
        found = await outcome(http(server.url, names))
    assert (found.kind is Kind.ANSWERED) is answers
    assert answers or found.why == f"answers with status {status}"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "ended the connection without an answer"),
        (b"HTTP/1.1 200 OK", "answers something that is no HTTP"),
        (b"220 mail.example ESMTP\r\n", "answers something that is no HTTP"),
        (b"HTTP/1.1 999 Strange\r\n", "answers something that is no HTTP"),
        (b"x" * 9000, "answers with a line of more than 4096 bytes, which is no HTTP"),
    ],
)
async def test_what_is_no_http_is_no_answer(names: Names, said: bytes, why: str) -> None:
    async with serving(saying(said)) as server:
        found = await outcome(http(server.url, names))
    assert (found.kind, found.why) == (Kind.FAILED, why)


async def test_a_server_that_takes_the_connection_and_hangs_is_left_at_the_deadline(names: Names) -> None:
    async with serving(hang) as server:
        began = time.monotonic()
        found = await outcome(http(server.url, names), DEADLINE)
        assert (found.kind, found.why) == (Kind.FAILED, "took more than 1 s to answer")
        assert time.monotonic() - began < DEADLINE + 10.0


@pytest.mark.parametrize("data", [b"x" * 65536, OK + b"y" * 65536], ids=["no line", "a body without end"])
async def test_of_a_server_that_babbles_little_is_read(names: Names, data: bytes) -> None:
    count = [0]
    async with serving(babbling(data, count)) as server:
        found = await outcome(http(server.url, names))
        assert found.kind is (Kind.ANSWERED if data.startswith(OK) else Kind.FAILED)
        await asyncio.sleep(0.1)
        assert count[0] < 16 * 2**20, "what fits into buffers of the kernel, and no more"


def served(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A server's certificate for accounts.example and 127.0.0.1; the probe's folder has it as the CA."""
    write_certificate(tmp_path, "accounts.example")
    (tmp_path / "ca.crt").write_bytes((tmp_path / "tls.crt").read_bytes())
    return tmp_path


async def test_a_certificate_of_the_declared_authority_and_name_is_good(names: Names, certificate: Path) -> None:
    async with serving(saying(OK), tls=served(certificate)) as server:
        url = server.url.replace("http:", "https:")
        for name in (None, "accounts.example"):
            assert await outcome(http(url, names, certificate, Trust(True, name))) == ANSWERED
        found = await outcome(http(url, names, certificate, Trust(True, "other.example")))
        assert found.kind is Kind.FAILED
        assert "its certificate is not valid for other.example" in found.why
        found = await outcome(http(url, names, certificate))
        assert "its certificate is not valid for 127.0.0.1" in found.why, "by the public authorities"


async def test_without_the_declared_authority_it_is_not_asked(names: Names, tmp_path: Path) -> None:
    async with serving(saying(OK)) as server:
        found = await outcome(http(server.url.replace("http:", "https:"), names, tmp_path, Trust(True)))
    assert found.kind is Kind.NOT_ASKED
    assert "ca.crt" in found.why


async def test_a_plain_server_behind_https_is_no_answer(names: Names, certificate: Path) -> None:
    count = [0]
    async with serving(babbling(b"x" * 65536, count)) as server:
        found = await outcome(http(server.url.replace("http:", "https:"), names, certificate, Trust(True)))
    assert found.kind is Kind.FAILED
    assert "no TLS" in found.why
