"""Probe mails against a server that follows a script, and against the relay's own."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from pathlib import Path

import pytest

from relayfleet.observe.probing import mailsession, transactions
from relayfleet.observe.probing.fleet import Fleet
from relayfleet.observe.probing.sighting import Sighting
from relayfleet.protocol.probing import Target
from relayfleet.protocol.relay_config import TlsMode
from relayfleet.relay.discard import Discard
from tests.fakes.spool import MemorySpool
from tests.relay.server.certificates import write_certificate
from tests.relay.server.harness import config, eventually, serving
from tests.unit.probing.script import ADDRESS, probed


@pytest.fixture(autouse=True)
def paces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Light ones each 0.2 s; full ones in their stead where a test wants (`only_full`), and else never."""
    monkeypatch.setattr(transactions, "LIGHT", (4, 0.2))
    monkeypatch.setattr(transactions, "FULL", (0, 1e6))


@pytest.fixture
def only_full(paces: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "FULL", (0, 0.0))
    monkeypatch.setattr(mailsession, "STORED_WITHIN", 0.3)


async def test_an_envelope_goes_in_one_write_on_a_session_that_stays() -> None:
    async with probed() as scene:
        await eventually(lambda: len(scene.of("Transaction")) >= 3, "three envelopes")
    lines = f"MAIL FROM:<{ADDRESS}>\r\nRCPT TO:<{ADDRESS}>\r\nRSET\r\n".encode()
    assert scene.script.writes.count(lines) >= 3
    assert scene.script.mailing == [["EHLO", *["MAIL", "RCPT", "RSET"] * scene.script.writes.count(lines)]]
    assert scene.failures() == []
    assert all(0 <= each.latency < 0.1 for each in scene.of())


async def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    async with probed(EHLO="250 x") as scene:
        await eventually(lambda: len(scene.of("Transaction")) >= 2, "two envelopes")
    assert scene.script.writes.count(b"RSET\r\n") >= 2
    assert scene.failures() == []


@pytest.mark.usefixtures("only_full")
@pytest.mark.parametrize("ehlo", ["250-x\r\n250-8BITMIME\r\n250 pipelining", "250 x"])
async def test_a_full_mail_is_small_and_says_what_it_is(ehlo: str) -> None:
    async with probed(EHLO=ehlo) as scene:
        await eventually(lambda: len(scene.of("Storage")) >= 2, "two mails")
    first = scene.script.messages[0]
    assert [line.partition(b":")[0] for line in first.splitlines()[:4]] == [
        b"Date",
        b"Message-ID",
        b"Subject",
        b"X-Relayfleet-Probe",
    ]
    assert len(first) < 512
    assert (len(scene.script.mailing), scene.failures(), len(set(scene.script.messages))) == (
        1,
        [],
        len(scene.script.messages),
    )


async def test_nothing_is_sent_without_a_discard_address() -> None:
    async with probed("") as scene:
        await asyncio.sleep(0.5)
    assert (scene.script.mailing, scene.of()) == ([], [])


@pytest.mark.parametrize("code", [451, 450, 550])
async def test_a_refused_recipient_is_told_four_times_in_a_hurry_and_then_as_usual(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "LIGHT", (4, 1.0))  # so much longer than a hurry that busy cores do not hide it
    async with probed(RCPT=f"{code} no") as scene:
        await eventually(lambda: len(scene.of()) >= 6, "six failures")
    assert set(scene.failures()) == {("Erred", "Transaction", code)}
    gaps = [after.at - before.at for before, after in pairwise(scene.of())]
    assert all(each >= 0.1 for each in gaps[:3]), "closer than that they count as one"
    assert sorted(gaps[:3])[1] < gaps[4], f"no hurry at first: {gaps}"
    assert len(scene.script.mailing) == 1, "the session goes on"


async def test_only_a_success_makes_for_another_hurry() -> None:
    async with probed(RCPT="451 no") as scene:
        await eventually(lambda: len(scene.of()) >= 5, "five failures")
        scene.script.says = {}
        await eventually(lambda: scene.of()[-1].kind == "Answered", "a success")
        scene.script.says = {"RCPT": "451 no"}
        await eventually(lambda: len(scene.failures()) >= 9, "more failures")


@pytest.mark.usefixtures("only_full")
@pytest.mark.parametrize(("verb", "code"), [("DOT", 451), ("RCPT", 550), ("DATA", 451), ("DOT", 554)])
async def test_a_mail_that_is_not_stored_is_told_and_tried_again(verb: str, code: int) -> None:
    async with probed(**{verb: f"{code} no"}) as scene:
        await eventually(lambda: len(scene.of()) >= 5, "five failures")
    assert set(scene.failures()) == {("Erred", "Storage", code)}


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "RSET"])
async def test_an_envelope_that_hangs_is_a_silence_though_noops_are_answered(verb: str) -> None:
    async with probed(**{verb: ""}) as scene:
        await eventually(lambda: len(scene.of()) >= 5, "five silences")
    assert set(scene.failures()) == {("Silent", "Transaction", 0)}
    first, *_, last = scene.of()
    assert first.at - first.sent[0] >= 0.1
    assert [len(each.sent) for each in scene.of()[:4]] == [1, 2, 3, 4]
    assert last.sent[:4] == scene.of()[3].sent, "all that are open are told anew, the oldest first"


@pytest.mark.usefixtures("only_full")
async def test_the_answer_to_the_dot_has_more_time() -> None:
    async with probed(DOT="") as scene:
        await eventually(lambda: len(scene.of()) >= 2, "two silences")
    assert set(scene.failures()) == {("Silent", "Storage", 0)}
    assert all(each.at - each.sent[-1] >= mailsession.STORED_WITHIN for each in scene.of())


async def test_a_hanging_mail_does_not_stop_the_noops() -> None:
    async with probed(RCPT="") as scene:
        await eventually(lambda: len(scene.of()) >= 2, "two silences")
        before = len(scene.of("Dialogue"))
        await eventually(lambda: len(scene.of("Dialogue")) > before + 5, "more answers")
    assert {each.kind for each in scene.of("Dialogue")} <= {"Answered", "Silent"}


async def test_a_server_that_does_not_know_the_sender_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "relayfleet.observe"):
        async with probed(MAIL="530 Authentication required") as scene:
            await eventually(lambda: len(scene.script.mailing) == 1, "one MAIL")
            scene.fleet.burst(["r"])
            await asyncio.sleep(0.6)
            assert (scene.of(), len(scene.script.mailing)) == ([], 1)
            scene.fleet.watch([scene.target])
            await asyncio.sleep(0.3)
            assert len(scene.script.mailing) == 1
            scene.script.says = {}
            scene.fleet.watch([Target("r", "127.0.0.1", scene.target.port, interval=0.03, discard=ADDRESS)])
            await eventually(lambda: len(scene.of()) >= 1, "another target is tried again")
    lines = [each.getMessage() for each in caplog.records if "probe mails" in each.getMessage()]
    assert len(lines) == 1
    assert "w0rd" not in lines[0]


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "RSET"])
async def test_421_closes_quietly_and_the_session_is_opened_anew(verb: str) -> None:
    async with probed(**{verb: "421 old"}) as scene:
        await eventually(lambda: len(scene.script.mailing) >= 2, "two sessions")
    assert scene.of() == []


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DOT"])
@pytest.mark.usefixtures("only_full")
async def test_a_full_queue_is_an_answer_and_neither_failure_nor_success(verb: str) -> None:
    async with probed(**{verb: "452 full"}) as scene:
        await eventually(lambda: sum("MAIL" in each for each in scene.script.heard) >= 1, "a mail")
        await asyncio.sleep(0.5)
    assert scene.of() == []
    assert {each.kind for each in scene.of("Dialogue")} <= {"Answered", "Silent"}


@pytest.mark.parametrize(
    ("verb", "words"), [("RCPT", "!"), ("MAIL", "garbage"), ("RCPT", "354 go on"), ("RSET", "334 x"), ("MAIL", "999 x")]
)
async def test_what_is_broken_off_or_is_no_smtp_is_told_as_a_reset(verb: str, words: str) -> None:
    async with probed(**{verb: words}) as scene:
        await eventually(lambda: len(scene.of()) >= 5, "five resets")
    assert set(scene.failures()) == {("Reset", "Transaction", 0)}


@pytest.mark.usefixtures("only_full")
async def test_a_go_ahead_that_is_none_is_no_smtp() -> None:
    async with probed(DATA="250 ok") as scene:
        await eventually(lambda: len(scene.of()) >= 2, "two resets")
    assert set(scene.failures()) == {("Reset", "Storage", 0)}
    assert scene.script.messages == []


async def test_a_burst_of_the_leader_brings_a_mail_at_once_but_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "LIGHT", (4, 1e6))
    monkeypatch.setattr(transactions, "HURRY", 60.0)
    async with probed() as scene:
        for _ in range(10):
            scene.fleet.burst(["r"])
            await asyncio.sleep(0.02)
        await eventually(lambda: len(scene.of()) == 1, "one mail")


@pytest.mark.parametrize("tls", ["None", "StartTLS", "Implicit"])
@pytest.mark.parametrize("proxies", [(), ("127.0.0.0/8",)])
async def test_the_relay_takes_probe_mails_by_every_kind_of_listener(
    tls: TlsMode, proxies: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "FULL", (0, 0.5))
    write_certificate(tmp_path, "relay.example")
    (tmp_path / "discard").write_text("w0rd")
    spool, settings = MemorySpool(), config(tls=tls, proxies=proxies, allowed=())
    async with serving(settings, spool, tls_folder=tmp_path, discard=Discard(tmp_path / "discard")) as server:
        seen: list[Sighting] = []
        fleet = Fleet(seen.append)
        port, implicit = server.ports["smtp"][0], tls == "Implicit"
        fleet.watch([Target("r", "127.0.0.1", port, implicit, 0.05, 0.5, proxies, ADDRESS)])
        await eventually(lambda: {"Transaction", "Storage"} <= {each.probe for each in seen}, "both kinds")
        fleet.close()
        assert server.counters.probes >= 1
    assert {each.kind for each in seen if each.probe in ("Transaction", "Storage")} == {"Answered"}
    assert len(spool.stored) >= 1
