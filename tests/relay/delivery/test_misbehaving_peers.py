"""Peers that drop, hang, lie and babble, over real sockets. No mail is lost, none is sent twice, none is taken for delivered."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

import pytest

from relayfleet.protocol.relay_config import Delivery, Source
from relayfleet.relay.delivery import connecting, journal, session, transaction, worker
from relayfleet.relay.spool.interface import ClaimRefusedError, Seen, SpoolUnavailable
from relayfleet.relay.spool.record import Recipient
from tests.fakes.peer import EHLO, Behaviour, Talk, peer
from tests.fakes.spool import MemorySpool
from tests.relay.delivery.desk import BODY, Desk, a_record, desk, until
from tests.sink.certificate import self_signed

ZONE = {
    ("one.test", "MX"): ["10 mx.one.test."],
    ("mx.one.test", "A"): ["127.0.0.1"],
    ("two.test", "MX"): ["10 mx.one.test.", "20 mx2.one.test."],
    ("mx2.one.test", "A"): ["127.0.0.2"],
    ("dead.test", "A"): ["127.0.0.9"],
    ("sender.test", "A"): ["127.0.0.9"],
}
LOCKSTEP = b"250-peer.test\r\n250 8BITMIME\r\n"


async def accept_all(talk: Talk) -> None:
    """A good peer, pipelining or not."""
    while True:
        line = await talk.hear()
        if line == "DATA":
            talk.say(b"354 go on\r\n")
            await talk.hear_mail()
            talk.say(b"250 2.0.0 taken\r\n")
        elif line == "QUIT":
            talk.say(b"221 bye\r\n")
            return
        else:
            talk.say(b"250 ok\r\n")


async def good(talk: Talk) -> None:
    await talk.greet()
    await accept_all(talk)


async def refusing_at_the_dot(talk: Talk) -> None:
    await talk.greet()
    while await talk.hear() != "DATA":
        talk.say(b"250 ok\r\n")
    talk.say(b"354 go on\r\n")
    await talk.hear_mail()
    talk.say(b"451 4.3.0 not now\r\n")
    await talk.hear()


def breaks(stage: str, how: str, ehlo: bytes = EHLO) -> Behaviour:
    """A peer that goes wrong when `stage` comes: closes, resets, answers garbage, never ends its answer, or 421 and closes."""

    async def behave(talk: Talk) -> None:
        if stage != "banner":
            talk.say(b"220 peer.test\r\n")
        while stage != "banner":
            line = await talk.hear()
            if line.lower().startswith(stage):
                break
            if line == "DATA":
                talk.say(b"354 go on\r\n")
                if stage == "body":
                    await talk.reader.readexactly(4)
                    break
                await talk.hear_mail()
                break
            talk.say(ehlo if line.startswith("EHLO") else b"250 ok\r\n")
        await go_wrong(talk, how)

    return behave


async def go_wrong(talk: Talk, how: str) -> None:
    if how == "reset":
        talk.reset()
    elif how == "garbage":
        talk.say(b"\x16\x03\x01 what?\r\n")
        await asyncio.sleep(30)
    elif how == "endless line":
        while True:
            talk.say(b"250-" + b"x" * 4096)
            await talk.writer.drain()
    elif how == "endless reply":
        while True:
            talk.say(b"250-and more\r\n" * 100)
            await talk.writer.drain()
    elif how == "421":
        talk.say(b"421 4.3.2 shutting down\r\n")
        await talk.writer.drain()


BEFORE_THE_DOT = [
    (stage, how, ehlo)
    for ehlo in (EHLO, LOCKSTEP)
    for stage in ("banner", "ehlo", "mail", "rcpt", "data", "body")
    for how in ("close", "reset", "garbage", "endless line", "endless reply", "421")
]


@pytest.mark.parametrize(("stage", "how", "ehlo"), BEFORE_THE_DOT)
async def test_what_breaks_before_the_dot_is_deferred_whole(stage: str, how: str, ehlo: bytes) -> None:
    # More than all buffers on the way hold, so that the dot is not out before the peer comes to break off.
    large = BODY + b"0123456789abcdef\r\n" * 1_200_000
    async with peer(breaks(stage, how, ehlo), limit=4096) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test", message=large if stage == "body" else BODY))
        assert subject.fates == {"Transient": 1}
        assert [each.address for each in subject.later[0].recipients] == ["bob@one.test"]
        assert subject.later[0].attempt == 1
        assert subject.journal.outcomes == []


@pytest.mark.parametrize("how", ["close", "reset", "garbage", "endless line", "endless reply"])
async def test_what_breaks_after_the_dot_is_uncertain(how: str) -> None:
    async with peer(breaks("dot", how)) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Uncertain": 1}
        assert subject.spool.delayed[0].delay >= 600


SILENT_STAGES = ("banner", "ehlo", "mail", "rcpt", "data")


@pytest.mark.parametrize("stage", SILENT_STAGES)
async def test_a_peer_that_hangs_is_left_when_its_time_is_over(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (connecting, transaction):
        for name in ("BANNER_SECONDS", "EHLO_SECONDS", "MAIL_SECONDS", "RCPT_SECONDS", "DATA_SECONDS"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, 0.1)

    async def hang(talk: Talk) -> None:
        await breaks(stage, "close")(talk)
        await asyncio.sleep(30)

    async with peer(hang) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Transient": 1}


async def test_a_peer_that_hangs_costs_one_wait_a_minute_not_one_a_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "MAIL_SECONDS", 0.1)

    async def hang(talk: Talk) -> None:
        await talk.greet()
        await asyncio.sleep(30)

    async with peer(hang) as running, desk(ZONE, running.port) as subject:
        for _ in range(5):
            await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Transient": 5}
        assert len(running.talks) == 1


async def test_a_peer_that_hangs_in_one_session_of_two_is_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "RCPT_SECONDS", 0.1)
    ready: list[Talk] = []
    both = asyncio.Event()

    async def hang_once(talk: Talk) -> None:
        await talk.greet()
        for _ in range(3):
            await talk.hear()
        ready.append(talk)
        if len(ready) == 2:
            both.set()
        await both.wait()
        if talk is ready[0]:
            talk.say(b"250 ok\r\n")
            await asyncio.sleep(30)
        talk.say(b"250 ok\r\n250 ok\r\n354 go on\r\n")  # at once, so that no wait for RCPT can be too long
        await talk.hear_mail()
        talk.say(b"250 2.0.0 taken\r\n")
        await accept_all(talk)

    async with peer(hang_once) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"), a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 1, "Transient": 1}
        assert subject.service.pool.marks.get(_source(subject), "127.0.0.1") is None


async def test_no_answer_to_the_dot_in_time_is_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "END_SECONDS", 0.1)

    async def hang(talk: Talk) -> None:
        await breaks("dot", "nothing")(talk)
        await asyncio.sleep(30)

    async with peer(hang) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Uncertain": 1}


async def test_a_peer_that_reads_nothing_is_left_when_no_byte_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "BLOCK_SECONDS", 0.3)

    async def deaf(talk: Talk) -> None:
        await talk.greet()
        while await talk.hear() != "DATA":
            talk.say(b"250 ok\r\n")
        talk.reader._transport.pause_reading()  # type: ignore[attr-defined]
        talk.say(b"354 go on\r\n")
        await asyncio.sleep(30)

    large = BODY + b"0123456789abcdef\r\n" * 2_000_000
    async with peer(deaf) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test", message=large))
        assert subject.fates == {"Transient": 1}
        assert subject.journal.claims == []


async def test_multi_line_replies_with_differing_codes_are_understood() -> None:
    async def babble(talk: Talk) -> None:
        talk.say(b"220-peer.test\r\n220-does not\r\n")
        await asyncio.sleep(0.01)
        talk.say(b"220 mind\r\n")
        await talk.hear()
        talk.say(EHLO)
        while True:
            line = await talk.hear()
            if line == "DATA":
                talk.say(b"354-go\r\n354")
                await asyncio.sleep(0.01)
                talk.say(b" on\r\n")
                await talk.hear_mail()
                talk.say(b"451-thanks\r\n250-many\r\n250 thanks\r\n")
            else:
                talk.say(b"250-yes\n250\n")

    async with peer(babble) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"), a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 2}


async def test_a_session_that_the_peer_closed_while_idle_costs_no_attempt() -> None:
    async def short(talk: Talk) -> None:
        await talk.greet()
        while await talk.hear() != "DATA":
            talk.say(b"250 ok\r\n")
        talk.say(b"354 go on\r\n")
        await talk.hear_mail()
        talk.say(b"250 taken\r\n")

    async with peer(short) as running, desk(ZONE, running.port) as subject:
        for _ in range(3):
            await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 3}
        assert await _limit(subject) == 5


def tired(leave: Callable[[Talk], None]) -> Callable[[Talk], Awaitable[None]]:
    """A peer that takes one mail in each session and leaves at the first command of the next."""

    async def behave(talk: Talk) -> None:
        await talk.greet()
        while await talk.hear() != "DATA":
            talk.say(b"250 ok\r\n")
        talk.say(b"354 go on\r\n")
        await talk.hear_mail()
        talk.say(b"250 taken\r\n")
        await talk.hear()
        leave(talk)

    return behave


@pytest.mark.parametrize("text", [b"4.7.0 one mail a session", b"4.4.2 timeout, closing connection"])
async def test_421_to_the_first_command_of_a_reused_session_costs_no_attempt(text: bytes) -> None:
    async with (
        peer(tired(lambda talk: talk.say(b"421 " + text + b"\r\n"))) as running,
        desk(ZONE, running.port) as subject,
    ):
        for _ in range(3):
            await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 3}
        # That session had lasted long enough. It is no word about how many there may be.
        assert await _limit(subject) == 5


async def test_a_session_that_dies_of_the_first_command_when_it_is_used_again_costs_no_attempt() -> None:
    async with peer(tired(Talk.reset)) as running, desk(ZONE, running.port) as subject:
        for _ in range(3):
            await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 3}
        assert await _limit(subject) == 5


async def test_421_to_the_first_command_of_a_new_session_means_fewer_sessions() -> None:
    async def busy(talk: Talk) -> None:
        await talk.greet()
        await talk.hear()
        talk.say(b"421 4.4.2 timeout, closing connection\r\n")

    async with peer(busy) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Transient": 1}
        assert await _limit(subject) == 2


async def test_a_reply_that_nobody_asked_for_ends_the_session() -> None:
    async def chatty(talk: Talk) -> None:
        await talk.greet()
        await talk.hear()
        talk.say(b"250 ok\r\n" * 3)  # one more than was asked
        await talk.hear()
        await talk.hear()
        talk.say(b"354 go on\r\n")
        await talk.hear_mail()
        talk.say(b"250 taken\r\n")

    async with peer(chatty) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Transient": 1}
        assert not any(line == "." for line in running.talks[0].heard)


async def test_an_answer_before_the_end_of_the_body_counts_and_no_dot_is_sent() -> None:
    async def impatient(talk: Talk) -> None:
        await talk.greet()
        while await talk.hear() != "DATA":
            talk.say(b"250 ok\r\n")
        talk.say(b"354 go on\r\n552 5.3.4 message exceeds fixed size limit\r\n")
        await asyncio.sleep(30)

    large = BODY + b"0123456789abcdef\r\n" * 1_000_000
    async with peer(impatient) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test", message=large))
        assert subject.fates["Permanent"] == 1  # the report may have been tried by now
        assert subject.journal.claims == []


async def test_refused_by_the_first_exchanger_means_the_second_is_tried() -> None:
    async def refuse(talk: Talk) -> None:
        talk.say(b"554 5.7.1 not you\r\n")
        await talk.hear()

    async with peer(refuse) as first, peer(good, "127.0.0.2", first.port), desk(ZONE, first.port) as subject:
        await subject.deliver(a_record("bob@two.test"))
        assert subject.fates == {"Delivered": 1}


async def test_a_dead_host_is_called_once_a_minute_not_once_a_mail() -> None:
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(*(a_record("bob@dead.test") for _ in range(50)))
        assert subject.fates == {"Transient": 50}
        assert subject.service.pool.counters.dialed == 1


async def test_a_host_that_speaks_only_helo_gets_its_mail() -> None:
    async def old(talk: Talk) -> None:
        talk.say(b"220 old.test\r\n")
        assert (await talk.hear()).startswith("EHLO")
        talk.say(b"502 what?\r\n")
        assert (await talk.hear()).startswith("HELO")
        talk.say(b"250 old.test\r\n")
        await accept_all(talk)

    async with peer(old) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 1}
        assert "MAIL FROM:<a@sender.test>" in running.talks[0].heard


async def test_a_failing_handshake_is_followed_by_one_try_in_plain_and_remembered() -> None:
    async def broken_tls(talk: Talk) -> None:
        await talk.greet(b"250-peer.test\r\n250 STARTTLS\r\n")
        line = await talk.hear()
        if line == "STARTTLS":
            talk.say(b"220 go\r\n")
            await talk.writer.drain()
            talk.say(b"this is no handshake\r\n")
            return
        talk.say(b"250 ok\r\n")
        await accept_all(talk)

    delivery = Delivery(messages_per_session=1)
    async with peer(broken_tls) as running, desk(ZONE, running.port, delivery=delivery) as subject:
        await subject.deliver(a_record("bob@one.test"))
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 2}
        assert len(running.talks) == 3
        assert subject.service.pool.counters.handshakes_failed == 1


async def test_plain_text_after_starttls_is_not_taken_into_the_encrypted_session() -> None:
    async def injected(talk: Talk) -> None:
        await talk.greet(b"250-peer.test\r\n250 STARTTLS\r\n")
        if await talk.hear() == "STARTTLS":
            talk.say(b"220 go\r\n250 injected\r\n")
            await asyncio.sleep(30)
        talk.say(b"250 ok\r\n")
        await accept_all(talk)

    async with peer(injected) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 1}
        assert len(running.talks) == 2


async def test_what_was_offered_before_starttls_does_not_count_after_it() -> None:
    context = self_signed("peer.test")

    async def changes_mind(talk: Talk) -> None:
        await talk.greet(b"250-peer.test\r\n250-SIZE 10\r\n250 STARTTLS\r\n")
        await talk.hear()
        talk.say(b"220 go\r\n")
        await start_tls(talk, context)
        await talk.hear()
        talk.say(b"250-peer.test\r\n250 8BITMIME\r\n")
        await accept_all(talk)

    async with peer(changes_mind) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 1}


async def start_tls(talk: Talk, context: ssl.SSLContext) -> None:
    await talk.writer.start_tls(context)


async def test_data_accepted_without_any_recipient_gets_an_empty_end_and_a_reset() -> None:
    async def odd(talk: Talk) -> None:
        await talk.greet()
        await talk.hear()
        await talk.hear()
        await talk.hear()
        talk.say(b"250 ok\r\n550 5.1.1 no such user\r\n354 go on\r\n")
        assert await talk.hear() == "."
        talk.say(b"554 5.5.1 no valid recipients\r\n")
        await accept_all(talk)

    async with peer(odd) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test", sender=""))
        await subject.deliver(a_record("carol@one.test"))
        assert subject.fates == {"Permanent": 1, "Delivered": 1}
        assert running.talks[0].heard[4:7] == [".", "RSET", f"MAIL FROM:<a@sender.test> SIZE={len(BODY)}"]


async def test_too_many_recipients_for_the_peer_go_on_at_once() -> None:
    async def narrow(talk: Talk) -> None:
        await talk.greet()
        taken = 0
        while True:
            line = await talk.hear()
            if line.startswith("RCPT"):
                taken += 1
                talk.say(b"250 ok\r\n" if taken <= 3 else b"452 4.5.3 too many recipients\r\n")
            elif line == "DATA":
                talk.say(b"354 go on\r\n")
                await talk.hear_mail()
                talk.say(b"250 taken\r\n")
                taken = 0
            else:
                talk.say(b"250 ok\r\n")

    async with peer(narrow) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record(*(f"user{number}@one.test" for number in range(10))))
        assert subject.fates == {"Delivered": 10}
        assert len(subject.journal.claims) == 4
        assert len({each for _, claimed, _, _ in subject.journal.claims for each in claimed}) == 10


async def test_stated_limits_are_obeyed() -> None:
    most = 0

    async def limited(talk: Talk) -> None:
        nonlocal most
        await talk.greet(b"250-peer.test\r\n250-PIPELINING\r\n250 LIMITS MAILMAX=2 RCPTMAX=4\r\n")
        await accept_all(talk)

    async with peer(limited) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record(*(f"user{number}@one.test" for number in range(10))))
        assert subject.fates == {"Delivered": 10}
        for talk in running.talks:
            mails = [line[:4] for line in talk.heard]
            assert mails.count("MAIL") <= 2
            most = max(most, *(len(part) for part in " ".join(mails).split("MAIL")))
        assert [len(claimed) for _, claimed, _, _ in subject.journal.claims] == [4, 4, 2]


PEER_LACKS: dict[str, tuple[bytes, dict[str, object], str]] = {
    "8BITMIME": (b"250-peer.test\r\n250 SMTPUTF8\r\n", {"body_8bit": True}, "5.6.3"),
    "SMTPUTF8 for a header": (
        b"250 peer.test\r\n",
        {"smtputf8": True, "message": "Subject: ü\r\n\r\nx\r\n".encode()},
        "5.6.7",
    ),
    "room": (b"250-peer.test\r\n250 SIZE 50\r\n", {}, "5.3.4"),
}


@pytest.mark.parametrize("what", PEER_LACKS)
async def test_what_the_peer_cannot_take_is_permanent_before_anything_is_sent(what: str) -> None:
    ehlo, changes, status = PEER_LACKS[what]

    async def poor(talk: Talk) -> None:
        await talk.greet(ehlo)
        await accept_all(talk)

    async with peer(poor) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test", **changes))
        assert subject.fates["Permanent"] == 1  # the report may have been tried by now
        assert f"Status: {status}".encode() in subject.spool.stored[1].message
        assert not any(line.startswith("MAIL") for line in running.talks[0].heard)


async def test_an_international_domain_reaches_a_peer_without_smtputf8_by_its_a_label() -> None:
    async def plain(talk: Talk) -> None:
        await talk.greet(b"250 peer.test\r\n")
        await accept_all(talk)

    zone = {("xn--bcher-kva.test", "A"): ["127.0.0.1"]}
    async with peer(plain) as running, desk(zone, running.port) as subject:
        await subject.deliver(a_record("bob@bücher.test", smtputf8=True))
        assert subject.fates == {"Delivered": 1}
        assert "RCPT TO:<bob@xn--bcher-kva.test>" in running.talks[0].heard


async def test_dsn_parameters_are_passed_on_to_a_peer_that_knows_them() -> None:
    async def knows(talk: Talk) -> None:
        await talk.greet(b"250-peer.test\r\n250 DSN\r\n")
        await accept_all(talk)

    record = a_record(ret="HDRS", envid="QQ+2B1", recipients=(Recipient("b@one.test", "SUCCESS", "rfc822;x@y.test"),))
    async with peer(knows) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(record)
        assert running.talks[0].heard[1:3] == [
            "MAIL FROM:<a@sender.test> RET=HDRS ENVID=QQ+2B1",
            "RCPT TO:<b@one.test> NOTIFY=SUCCESS ORCPT=rfc822;x@y.test",
        ]
        assert len(subject.spool.stored) == 1


async def test_success_asked_of_a_peer_without_dsn_brings_a_relayed_report() -> None:
    record = a_record(recipients=(Recipient("b@one.test", "SUCCESS"),))
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(record)
        assert b"Action: relayed" in subject.spool.stored[1].message


async def test_a_claim_that_came_too_late_stops_the_dot() -> None:
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        subject.journal.age = 5.5  # as after a freeze
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Transient": 1}
        assert [each for _, each in subject.journal.withdrawn] == [("bob@one.test",)]
        subject.journal.age = 0.0
        subject.spool.elapse()
        await until(lambda: subject.service.counters.records_settled == 2)
        assert subject.fates == {"Transient": 1, "Delivered": 1}


async def test_a_record_that_is_not_ours_any_more_is_neither_sent_nor_settled() -> None:
    got: list[bytes] = []
    spools: list[MemorySpool] = []

    async def listening(talk: Talk) -> None:
        await talk.greet()
        while await talk.hear() != "DATA":
            talk.say(b"250 ok\r\n")
        spools[0].taking = False  # what is handed back stays in the queue
        talk.say(b"354 go on\r\n")
        got.append(await talk.reader.read(1000))

    async with peer(listening) as running, desk(ZONE, running.port) as subject:
        spools.append(subject.spool)
        subject.journal.fail_next.append(ClaimRefusedError("the connection to the queue was lost"))
        await subject.deliver(a_record("bob@one.test"))
        await until(lambda: bool(got))
        assert got == [b""]
        assert subject.service.counters.records_settled == 0
        assert len(subject.spool.waiting) == 1


async def test_a_peer_that_leaves_while_the_claim_is_asked_for_gets_no_dot_and_the_claim_is_withdrawn() -> None:
    async def leaving(talk: Talk) -> None:
        await talk.greet()
        while await talk.hear() != "DATA":
            talk.say(b"250 ok\r\n")
        talk.say(b"354 go on\r\n")
        await talk.writer.drain()

    async with peer(leaving) as running, desk(ZONE, running.port) as subject:
        subject.journal.pause = 0.3
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Transient": 1}
        assert [each for _, each in subject.journal.withdrawn] == [("bob@one.test",)]


async def test_a_journal_that_is_away_for_a_moment_gets_its_claim_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "CLAIM_PAUSE", 0.0)
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        subject.journal.fail_next.extend(SpoolUnavailable("no leader") for _ in range(5))
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 1}
        assert subject.journal.withdrawn == []


async def test_without_a_journal_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "CLAIM_SECONDS", 0.0)
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        subject.journal.fail_next.append(SpoolUnavailable("no majority"))
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Transient": 1}
        assert subject.journal.outcomes == []


async def test_a_delivery_that_the_journal_did_not_confirm_is_stated_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the next holder of the record, after ten minutes of doubt, delivers it once more."""
    monkeypatch.setattr(journal, "PAUSES", (0.0,) * 10)
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        subject.journal.fail_outcomes.extend(SpoolUnavailable("no majority") for _ in range(4))
        await subject.deliver(a_record("bob@one.test"))
        await until(lambda: bool(subject.journal.outcomes))
        assert [each[1:3] for each in subject.journal.outcomes] == [(("bob@one.test",), True)]
        assert subject.spool.stored[1:] == []


async def test_a_relay_that_leaves_states_its_deliveries_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "PAUSES", (0.3,))
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        subject.journal.fail_outcomes.append(SpoolUnavailable("no majority"))
        await subject.deliver(a_record("bob@one.test"))
        await subject.service.drain(5)
        assert len(subject.journal.outcomes) == 1


async def test_a_refusal_that_the_journal_did_not_confirm_is_left_at_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stated later it could wipe out the claim of another relay."""
    monkeypatch.setattr(journal, "PAUSES", (0.0,))
    async with peer(refusing_at_the_dot) as running, desk(ZONE, running.port) as subject:
        subject.journal.fail_outcomes.append(SpoolUnavailable("no majority"))
        await subject.deliver(a_record("bob@one.test"))
        await asyncio.sleep(0.05)
        assert subject.fates == {"Transient": 1}
        assert subject.journal.outcomes == []


async def test_a_copy_whose_outcome_stands_is_dropped_and_an_open_claim_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "OPEN_CLAIM_SECONDS", 0.0)
    record = a_record("done@one.test", "open@one.test", "new@one.test")
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        subject.journal.known[record.key] = Seen(frozenset({"done@one.test"}), frozenset({"open@one.test"}))
        await subject.deliver(record)
        heard = running.talks[0].heard
        assert [line for line in heard if line.startswith("RCPT")] == ["RCPT TO:<new@one.test>"]
        (successor,) = subject.spool.delayed
        assert [each.address for each in successor.record.recipients] == ["open@one.test"]
        assert successor.delay >= 600


@pytest.mark.parametrize(
    ("then", "mails"),
    [(Seen(frozenset({"bob@one.test"})), 0), (Seen(), 1)],
    ids=["it was delivered", "it was withdrawn"],
)
async def test_an_open_claim_that_is_closed_in_time_costs_a_moment(then: Seen, mails: int) -> None:
    record = a_record("bob@one.test")
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        subject.journal.known[record.key] = Seen(uncertain=frozenset({"bob@one.test"}))
        delivery = asyncio.create_task(subject.deliver(record))
        await asyncio.sleep(0.1)
        subject.journal.known[record.key] = then
        await delivery
        assert len(running.talks) == mails
        assert not subject.spool.delayed


async def test_records_that_wait_for_the_claims_of_others_leave_half_of_the_hands_free() -> None:
    records = [a_record("bob@one.test") for _ in range(5)]
    async with peer(good) as running, desk(ZONE, running.port, delivery=Delivery(prefetch=4)) as subject:
        for each in records:
            subject.journal.known[each.key] = Seen(uncertain=frozenset({"bob@one.test"}))
            await subject.spool.put(each)
        await until(lambda: len(subject.spool.delayed) == 3)
        assert subject.service.in_hand == 2


async def test_a_queue_that_is_away_for_a_moment_gets_its_acknowledgement_later() -> None:
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        await subject.spool.put(a_record("bob@one.test"))
        subject.spool.fail_next.append(SpoolUnavailable("leader lost"))
        await until(lambda: subject.service.counters.records_settled == 1)
        assert len(running.talks) == 1
        assert subject.fates == {"Delivered": 1}


async def test_a_mail_with_a_bare_line_feed_is_never_sent() -> None:
    async with peer(good) as running, desk(ZONE, running.port) as subject:
        for body in (b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\r\nMAIL FROM:<x@y>\r\n", b".\r\n", b"no end"):
            await subject.deliver(a_record("bob@one.test", sender="", message=body))
        assert subject.fates == {"Permanent": 5}


async def test_bytes_at_random_cost_one_attempt_each_and_never_the_service() -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = Random(seed)

    async def noise(talk: Talk) -> None:
        for _ in range(chance.randrange(1, 8)):
            talk.say(chance.choice([b"250 ok\r\n", b"220 hi\r\n", EHLO, b"354 go\r\n", chance.randbytes(40), b"\r\n"]))
            with suppress(TimeoutError):
                await asyncio.wait_for(talk.hear(), 0.05)

    delivery = Delivery(sessions_per_destination=1)
    async with peer(noise) as running, desk(ZONE, running.port, delivery=delivery) as subject:
        for _ in range(30):
            subject.service.pool.marks.clear(_source(subject), "127.0.0.1")
            await subject.deliver(a_record("bob@one.test"))
        assert sum(subject.fates.values()) == 30
        assert len(subject.later) + subject.fates.get("Delivered", 0) + subject.fates.get("Permanent", 0) == 30


async def _limit(subject: Desk) -> int:
    """How many sessions mx.one.test may have."""
    pool = subject.service.pool
    return pool.destination(_source(subject), await pool.router.route("one.test")).limit


def _source(subject: Desk) -> Source:
    return Source("pod", "", "relay.test")
