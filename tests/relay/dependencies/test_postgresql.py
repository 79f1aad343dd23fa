"""The PostgreSQL probe against a real server, and against what only claims to be one."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from relayfleet.protocol.dependency import Dependency, PostgreSQLTarget, Target, Trust
from relayfleet.relay.dependencies.outcome import ANSWERED, Kind
from relayfleet.relay.dependencies.postgresql import PostgreSQLProbe
from relayfleet.relay.dependencies.postgresql_wire import MOST_BYTES
from relayfleet.relay.dependencies.reaching import Names
from relayfleet.relay.dependencies.service import Dependencies
from tests.relay.dependencies import postgres
from tests.relay.dependencies.postgres import DATABASE, PASSWORD, USER, Postgres
from tests.relay.dependencies.servers import babbling, closed_port, eventually, hang, outcome, serving, unanswering
from tests.relay.server import harness as smtp

DEADLINE = 1.0
"""Long enough for a busy machine to have connected by then: what took too long is told by how far a probe has come."""
MAIL = b"MAIL FROM:<me@here.example>"


@pytest.fixture(scope="module")
def _server() -> Iterator[Postgres]:
    if (found := postgres.binaries()) is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgres.running(found) as server:
        yield server


@pytest.fixture
async def server(_server: Postgres, tmp_path: Path) -> Postgres:
    """Answers by now."""
    names = Names()
    asked = probe(_server.address, names, credentials(tmp_path / "first"))
    await until_answered(asked)
    names.close()
    return _server


@pytest.fixture
def names() -> Iterator[Names]:
    found = Names()
    yield found
    found.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return credentials(tmp_path / "db")


def credentials(folder: Path, password: str = PASSWORD) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "username").write_text(f"{USER}\n")
    (folder / "password").write_text(f"{password}\n")
    return folder


async def until_answered(asked: PostgreSQLProbe) -> None:
    """A server that starts refuses at first."""
    ends = time.monotonic() + 30
    while (found := await outcome(asked)).kind is not Kind.ANSWERED:
        assert time.monotonic() < ends, found
        await asyncio.sleep(0.05)


_asked: list[PostgreSQLProbe] = []


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    """Whatever connection a test leaves is closed before its loop is: uvloop would wait for it."""
    yield
    while _asked:
        _asked.pop().close()
    await asyncio.sleep(0.01)


def probe(
    address: str, names: Names, folder: Path, query: str = "SELECT 1", trust: Trust | None = None
) -> PostgreSQLProbe:
    """Closed when the test is over."""
    _asked.append(PostgreSQLProbe(PostgreSQLTarget(address, DATABASE, query, trust), names, folder))
    return _asked[-1]


async def test_a_query_is_answered_again_and_again_over_one_connection(
    server: Postgres, names: Names, folder: Path
) -> None:
    asked = probe(server.address, names, folder, "SELECT pg_backend_pid(), application_name FROM pg_stat_activity")
    assert await outcome(asked) == ANSWERED
    first = asked._connection
    assert await outcome(asked) == ANSWERED
    assert asked._connection is first


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT * FROM nothing", 'relation "nothing" does not exist'),
        ("SELECT 1/0", "division by zero"),
        ("this is no SQL", "syntax error"),
    ],
)
async def test_a_query_that_fails_is_no_answer(
    server: Postgres, names: Names, folder: Path, query: str, why: str
) -> None:
    found = await outcome(probe(server.address, names, folder, query))
    assert found.kind is Kind.FAILED
    assert why in found.why


async def test_of_a_million_rows_one_is_read(server: Postgres, names: Names, folder: Path) -> None:
    asked = probe(server.address, names, folder, "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")
    assert await outcome(asked) == ANSWERED
    assert asked._wire is not None
    assert asked._wire._left > MOST_BYTES - 20_000


async def test_a_row_that_is_too_long_is_cut_off(server: Postgres, names: Names, folder: Path) -> None:
    found = await outcome(probe(server.address, names, folder, f"SELECT repeat('x', {2 * MOST_BYTES})"))
    assert found.kind is Kind.FAILED


async def test_a_query_that_takes_too_long_is_left_at_the_deadline_and_the_next_one_is_answered(
    server: Postgres, names: Names, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = probe(server.address, names, folder, "SELECT pg_sleep(case when now() < '2000-01-01' then 0 else 30 end)")
    began = time.monotonic()
    found = await outcome(asked, DEADLINE)
    assert (found.kind, found.why) == (Kind.FAILED, "took more than 1 s to answer")
    assert time.monotonic() - began < DEADLINE + 10.0
    assert asked._connection is None
    assert await outcome(probe(server.address, names, folder)) == ANSWERED
    assert not caplog.records


async def test_credentials_are_read_again_when_they_change(server: Postgres, names: Names, folder: Path) -> None:
    asked = probe(server.address, names, folder)
    assert await outcome(asked) == ANSWERED
    credentials(folder, "wrong password")
    found = await outcome(asked)
    assert (found.kind, found.why) == (
        Kind.FAILED,
        f'refuses the query or the log-in: password authentication failed for user "{USER}"',
    )
    credentials(folder, PASSWORD)
    assert await outcome(asked) == ANSWERED


async def test_without_credentials_it_is_not_asked(names: Names, tmp_path: Path) -> None:
    found = await outcome(probe(f"127.0.0.1:{closed_port()}", names, tmp_path / "nowhere"))
    assert found.kind is Kind.NOT_ASKED
    assert "credentials are not mounted" in found.why


async def test_a_certificate_is_checked_for_the_declared_name(server: Postgres, names: Names, folder: Path) -> None:
    (folder / "ca.crt").write_bytes((server.folder / "tls.crt").read_bytes())
    query = "SELECT 1 / ssl::int FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    for name in (None, "db.example"):
        asked = probe(server.address, names, folder, query, Trust(True, name))
        assert await outcome(asked) == ANSWERED
    found = await outcome(probe(server.address, names, folder, trust=Trust(True, "other.example")))
    assert "its certificate is not valid for other.example" in found.why
    found = await outcome(probe(server.address, names, folder, trust=Trust()))
    assert "its certificate is not valid for 127.0.0.1" in found.why, "by the public authorities"
    plain = probe(server.address, names, folder, query)
    assert "division by zero" in (await outcome(plain)).why, "without `tls` there is none"


async def test_a_server_that_stands_still_is_left_at_the_deadline_and_answers_again_when_it_goes_on(
    server: Postgres, names: Names, folder: Path
) -> None:
    asked = probe(server.address, names, folder)
    assert await outcome(asked) == ANSWERED
    with server.frozen():
        for _ in range(2):
            found = await outcome(asked, DEADLINE)
            assert (found.kind, found.why) == (Kind.FAILED, "took more than 1 s to answer")
    assert await outcome(asked) == ANSWERED


async def test_a_server_that_ends_is_no_answer_and_one_that_starts_again_is(
    server: Postgres, names: Names, folder: Path
) -> None:
    asked = probe(server.address, names, folder)
    assert await outcome(asked) == ANSWERED
    server.stop()
    assert (await outcome(asked)).kind is Kind.FAILED
    assert "Connection refused" in (await outcome(asked)).why
    found = postgres.binaries()
    assert found is not None
    server.start(found)
    await until_answered(asked)


async def test_a_database_that_stands_still_puts_mail_off_within_its_deadlines_and_no_longer_than_it_does(
    server: Postgres, tmp_path: Path
) -> None:
    credentials(tmp_path / "db")
    target = Target(postgresql=PostgreSQLTarget(server.address, DATABASE))
    asked = Dependencies((Dependency("db", target, 0.3, 0.3, "TempFail"),), tmp_path)
    running = asyncio.create_task(asked.run())
    async with smtp.serving(defers_for=lambda: asked.defers_for) as relay, smtp.connected(relay) as client:
        await client.hello()
        await eventually(lambda: "db" in asked.verdicts and not asked.verdicts["db"].why, "it answers")
        assert (await client.say(MAIL)).startswith(b"250")
        await client.say(b"RSET")
        with server.frozen():
            began = time.monotonic()
            while (answer := await client.say(MAIL)).startswith(b"250"):
                assert time.monotonic() - began < 20
                await client.say(b"RSET")
                await asyncio.sleep(0.01)
            assert answer == b"451 4.3.0 Dependency db does not answer, try again later\r\n"
        await eventually(lambda: not asked.defers_for, "it answers again")
        assert (await client.say(MAIL)).startswith(b"250")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_takes_the_connection_and_hangs_is_left_at_the_deadline(names: Names, folder: Path) -> None:
    async with serving(hang) as server:
        for trust in (None, Trust()):
            found = await outcome(probe(server.address, names, folder, trust=trust), DEADLINE)
            assert (found.kind, found.why) == (Kind.FAILED, "took more than 1 s to answer")


async def test_a_host_that_is_off_is_a_timeout_of_connecting(names: Names, folder: Path) -> None:
    with unanswering() as address:
        found = await outcome(probe(address, names, folder), DEADLINE)
    assert found.kind is Kind.TIMED_OUT_CONNECTING


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 65536,
        b"S" + struct.pack("!i", 2**31 - 1) + b"y" * 65536,
        b"N" + struct.pack("!i", 2**31 - 1) + b"\0" * 65536,
        b"SSH-2.0-babble\r\n" * 4096,
    ],
    ids=["noise", "a parameter of two gigabytes", "a notice of two gigabytes", "another protocol"],
)
@pytest.mark.parametrize("trust", [None, Trust()], ids=["plain", "TLS"])
async def test_of_what_babbles_without_end_little_is_read(
    names: Names, folder: Path, data: bytes, trust: Trust | None
) -> None:
    count = [0]
    async with serving(babbling(data, count)) as server:
        found = await outcome(probe(server.address, names, folder, trust=trust), 2.0)
        assert found.kind is Kind.FAILED
        await asyncio.sleep(0.05)
    assert count[0] < 16 * 2**20, "what fits into buffers of the kernel, and no more"
