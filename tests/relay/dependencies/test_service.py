"""All dependencies of a relay together: what follows for new mail, what the leader is told, and what a change of the declaration does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relayfleet.protocol.dependency import Dependency, HttpTarget, OnFailure, PostgreSQLTarget, Target, TcpTarget
from relayfleet.protocol.telemetry import DependencyState
from relayfleet.relay.dependencies.service import Dependencies
from relayfleet.relay.dependencies.verdict import FAILURES
from relayfleet.relay.status import dependency_metrics
from tests.relay.dependencies.servers import closed_port, eventually, hang, saying, serving, unanswering

ANSWERS, ON_BACKUP, DOWN = DependencyState.ANSWERS, DependencyState.ON_BACKUP, DependencyState.DOWN
UNKNOWN = DependencyState.UNKNOWN


def tcp(
    address: str, on_failure: OnFailure = "TempFail", backup: str = "", *, name: str = "db", timeout: float = 0.2
) -> Dependency:
    second = Target(TcpTarget(backup)) if backup else None
    return Dependency(name, Target(TcpTarget(address)), 0.05, timeout, on_failure, second)


@contextlib.asynccontextmanager
async def asking(*declared: Dependency, files: Path = Path("/nonexistent")) -> AsyncIterator[Dependencies]:
    found = Dependencies(declared, files)
    running = asyncio.create_task(found.run())
    await asyncio.sleep(0)
    try:
        yield found
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.01)


async def comes_to(found: Dependencies, state: DependencyState, name: str = "db") -> None:
    await eventually(lambda: name in found.verdicts and found.verdicts[name].state is state, f"{name} is {state}")


async def test_mail_waits_from_the_failures_on_until_it_answers_again() -> None:
    port = closed_port()
    async with asking(tcp(f"127.0.0.1:{port}")) as found:
        assert found.defers_for == "", "what is not known yet holds nothing up"
        await comes_to(found, DOWN)
        assert found.defers_for == "db"
        async with serving(hang, port=port):
            await comes_to(found, ANSWERS)
            assert found.defers_for == ""


async def test_what_is_only_reported_holds_no_mail_up() -> None:
    async with asking(tcp(f"127.0.0.1:{closed_port()}", "Report")) as found:
        await comes_to(found, DOWN)
        assert found.defers_for == ""


async def test_a_failure_now_and_then_is_no_outage() -> None:
    """Every second one is lost for sure, and no state but the first is ever told."""
    count = 0

    async def every_other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d X\r\n\r\n" % (503 if count % 2 == 0 else 200))
        await writer.drain()

    async with serving(every_other) as server:
        declared = Dependency("web", Target(http=HttpTarget(server.url)), 0.02, 2.0, "TempFail")
        async with asking(declared) as found:
            await comes_to(found, ANSWERS, "web")
            seen = set()
            while count < 12:
                seen.add(found.verdicts["web"].state)
                await asyncio.sleep(0.005)
    assert seen == {ANSWERS}


async def test_the_backup_counts_at_once_when_the_first_lets_nobody_in_and_no_longer_than_needed() -> None:
    port = closed_port()
    async with serving(hang) as second:
        async with serving(hang, port=port) as first:
            declared = tcp(first.address, "UseBackup", second.address)
            async with asking(declared) as found:
                await comes_to(found, ANSWERS)
        async with asking(declared) as found:
            await comes_to(found, ON_BACKUP)
            assert found.defers_for == ""
            async with serving(hang, port=port):
                await comes_to(found, ANSWERS)


async def test_one_connection_that_is_not_made_in_time_is_enough_to_look_at_the_backup() -> None:
    async with (
        serving(hang) as second,
        serving(hang) as first,
        asking(tcp(first.address, "UseBackup", second.address, timeout=0.5)) as found,
    ):
        await comes_to(found, ANSWERS)
        with unanswering() as address:
            # The same watcher, whose target's host goes off: all that it sees of it is its address.
            ((watcher, _), *_) = [each for wanted, each in found._watchers.items() if wanted.folder == "db"]
            watcher._probe._reach.port = int(address.rpartition(":")[2])  # type: ignore[attr-defined]
            await comes_to(found, ON_BACKUP)
            assert -FAILURES < watcher.track.run < 0
            assert "to connect" in found.verdicts["db"].why


async def test_mail_waits_when_the_backup_fails_too() -> None:
    declared = tcp(f"127.0.0.1:{closed_port()}", "UseBackup", f"127.0.0.1:{closed_port()}")
    async with asking(declared) as found:
        await comes_to(found, DOWN)
        assert found.defers_for == "db"
        assert "backup" in found.verdicts["db"].why


async def test_the_leader_is_told_of_all_with_age_and_cause() -> None:
    async with serving(hang) as server:
        good, bad = tcp(server.address, name="good"), tcp(f"127.0.0.1:{closed_port()}", "Report", name="bad")
        async with asking(good, bad) as found:
            await comes_to(found, ANSWERS, "good")
            await comes_to(found, DOWN, "bad")
            first, second = found.told()
    assert (first.name, first.state, first.why) == ("good", ANSWERS, "")
    assert (second.name, second.state) == ("bad", DOWN)
    assert second.why == "cannot be connected to: Connection refused"
    assert 0 <= second.seconds < 20


async def test_what_cannot_be_asked_is_unknown_and_holds_no_mail_up(tmp_path: Path) -> None:
    database = PostgreSQLTarget(f"127.0.0.1:{closed_port()}", "mail")
    declared = Dependency("db", Target(postgresql=database), 0.05, 0.2, "TempFail")
    async with asking(declared, files=tmp_path) as found:
        await eventually(lambda: sum(number for *_, number in found.outcomes()) > FAILURES, "it was tried")
        assert (found.verdicts["db"].state, found.defers_for) == (UNKNOWN, "")
        assert "credentials" in found.verdicts["db"].why
        (tmp_path / "db").mkdir()
        for name in ("username", "password"):
            (tmp_path / "db" / name).write_text("x")
        await comes_to(found, DOWN)


async def test_a_kind_that_this_relay_does_not_know_is_passed_over() -> None:
    async with asking(Dependency("db", Target(), on_failure="TempFail")) as found:
        await asyncio.sleep(0.1)
        assert (found.told(), found.defers_for) == ((), "")


async def test_another_declaration_leaves_what_is_known_of_the_others() -> None:
    async with serving(hang) as server:
        one, other = tcp(server.address, name="one"), tcp(f"127.0.0.1:{closed_port()}", name="other")
        async with asking(one, other) as found:
            await comes_to(found, ANSWERS, "one")
            await comes_to(found, DOWN, "other")
            before = found.verdicts["one"]
            found.reload((one,))
            assert dict(found.verdicts) == {"one": before}
            assert found.defers_for == ""
            found.reload((tcp(server.address, "Report", name="one"), other))
            assert found.verdicts["one"] == before, "what follows is another matter than what is asked"
            assert found.verdicts["other"].state is UNKNOWN, "it begins anew"
            found.reload(())
            assert found.told() == ()


async def test_a_dependency_that_hangs_holds_up_no_other_one() -> None:
    async with serving(hang) as slow, serving(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as quick:
        hanging = [Dependency(f"slow{n}", Target(http=HttpTarget(slow.url)), 0.05, 10.0) for n in range(15)]
        async with asking(*hanging, Dependency("quick", Target(http=HttpTarget(quick.url)), 0.05, 10.0)) as found:
            await comes_to(found, ANSWERS, "quick")


@pytest.mark.parametrize("state", [ANSWERS, DOWN])
async def test_a_change_is_logged_once(state: DependencyState, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving(hang) as server:
        address = server.address if state is ANSWERS else f"127.0.0.1:{closed_port()}"
        async with asking(tcp(address)) as found:
            await comes_to(found, state)
            await eventually(lambda: sum(number for *_, number in found.outcomes()) > 6, "it is asked on")
    assert [each.getMessage() for each in caplog.records].count(
        "dependency db: Answers"
        if state is ANSWERS
        else "dependency db: Down, cannot be connected to: Connection refused"
    ) == 1


async def test_metrics_say_the_state_and_count_the_probes() -> None:
    declared = tcp(f"127.0.0.1:{closed_port()}", "UseBackup", f"127.0.0.1:{closed_port()}")
    async with asking(declared) as found:
        await comes_to(found, DOWN)
        state, probes = dependency_metrics(found)
    assert [each.labels for each in state.samples] == [{"dependency": "db", "state": "Down"}]
    counted = {each.labels["target"]: each.value for each in probes.samples if each.labels["outcome"] == "Failed"}
    assert set(counted) == {"db", "db.backup"}
    assert min(counted.values()) >= FAILURES
