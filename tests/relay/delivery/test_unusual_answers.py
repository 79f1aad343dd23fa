"""Answers that are rare, or none at all by the letter of RFC 5321: what is done with each, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from relayfleet.protocol.relay_config import Delivery
from relayfleet.relay.spool.record import Recipient
from tests.fakes.peer import EHLO, Behaviour, Talk, peer
from tests.relay.delivery.desk import BODY, a_record, desk, until

ZONE = {
    ("one.test", "MX"): ["10 mx.one.test."],
    ("two.test", "MX"): ["10 mx.one.test."],
    ("mx.one.test", "A"): ["127.0.0.1"],
    ("both.test", "A"): ["127.0.0.9", "127.0.0.1"],
    ("sender.test", "A"): ["127.0.0.1"],
}
LOCKSTEP = b"250-peer.test\r\n250 8BITMIME\r\n"
GOOD = {"EHLO": EHLO, "MAIL": b"250 ok\r\n", "RCPT": b"250 ok\r\n", "DATA": b"354 go on\r\n"}


def says(**answers: bytes) -> Behaviour:
    """A good peer but for these answers, by verb; `BANNER` and `DOT` are those to the connection and the mail."""

    async def behave(talk: Talk) -> None:
        talk.say(answers.get("BANNER", b"220 peer.test\r\n"))
        while True:
            verb = (await talk.hear())[:4].upper()
            answer = answers.get(verb, GOOD.get(verb, b"250 ok\r\n"))
            talk.say(answer)
            if verb == "DATA" and answer[:1] == b"3":
                while await talk.hear() != ".":
                    pass
                talk.say(answers.get("DOT", b"250 taken\r\n"))

    return behave


FIRST_DIGITS: dict[str, tuple[dict[str, bytes], str]] = {
    "259 to MAIL": ({"MAIL": b"259 fine\r\n"}, "Delivered"),
    "299 to RCPT": ({"RCPT": b"299 fine\r\n"}, "Delivered"),
    "355 to DATA": ({"DATA": b"355 send it\r\n"}, "Delivered"),
    "277 to the dot": ({"DOT": b"277 mine\r\n"}, "Delivered"),
    "499 to MAIL": ({"MAIL": b"499 later\r\n"}, "Transient"),
    "499 to RCPT": ({"RCPT": b"499 later\r\n"}, "Transient"),
    "499 to the dot": ({"DOT": b"499 later\r\n"}, "Transient"),
    "599 to MAIL": ({"MAIL": b"599 never\r\n"}, "Permanent"),
    "599 to RCPT": ({"RCPT": b"599 never\r\n"}, "Permanent"),
    "599 to the dot": ({"DOT": b"599 never\r\n"}, "Permanent"),
}


@pytest.mark.parametrize("ehlo", [EHLO, LOCKSTEP], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize("case", FIRST_DIGITS)
async def test_an_unknown_code_means_what_its_first_digit_says(case: str, ehlo: bytes) -> None:
    answers, fate = FIRST_DIGITS[case]
    async with peer(says(EHLO=ehlo, **answers)) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test", recipients=(Recipient("bob@one.test", "NEVER"),)))
        assert subject.fates == {fate: 1}


@pytest.mark.parametrize("ehlo", [EHLO, LOCKSTEP], ids=["pipelined", "lockstep"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
async def test_3xx_where_nothing_more_is_to_be_sent_ends_the_session(verb: str, ehlo: bytes) -> None:
    async with peer(says(EHLO=ehlo, **{verb: b"354 and now?\r\n"})) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Transient": 1}
        assert subject.journal.claims == []
        await subject.deliver(a_record("bob@one.test"))
        assert len(running.talks) == 2


async def test_3xx_to_the_dot_is_no_acceptance_and_the_session_carries_no_other_mail() -> None:
    async with peer(says(DOT=b"354 go on\r\n")) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Uncertain": 1}
        assert subject.spool.delayed[0].delay >= 600
        await subject.deliver(a_record("bob@one.test"))
        assert [sum(line.startswith("MAIL") for line in talk.heard) for talk in running.talks] == [1, 1]


async def test_552_to_rcpt_means_too_many_and_the_rest_goes_on_at_once() -> None:
    async def narrow(talk: Talk) -> None:
        await talk.greet()
        taken = 0
        while True:
            line = await talk.hear()
            if line.startswith("RCPT"):
                taken += 1
                talk.say(b"250 ok\r\n" if taken <= 2 else b"552 no\r\n")
            elif line == "DATA":
                talk.say(b"354 go on\r\n")
                await talk.hear_mail()
                talk.say(b"250 taken\r\n")
                taken = 0
            else:
                talk.say(b"250 ok\r\n")

    async with peer(narrow) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record(*(f"user{number}@one.test" for number in range(5))))
        assert subject.fates == {"Delivered": 5}
        assert [len(claimed) for _, claimed, _, _ in subject.journal.claims] == [2, 2, 1]


async def test_552_to_the_only_recipient_is_tried_again_later() -> None:
    async with peer(says(RCPT=b"552 no\r\n")) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Transient": 1}


AT_THE_DOOR: dict[str, tuple[dict[str, bytes], str]] = {
    "554": ({"BANNER": b"554 5.7.1 go away\r\n"}, "Transient"),
    "521": ({"BANNER": b"521 blocked\r\n"}, "Transient"),
    "521 of a host that takes no mail": ({"BANNER": b"521 peer.test does not accept mail\r\n"}, "Permanent"),
    "421": ({"BANNER": b"421 busy\r\n"}, "Transient"),
    "354": ({"BANNER": b"354 what next?\r\n"}, "Transient"),
    "354 to EHLO": ({"EHLO": b"354 what next?\r\n"}, "Transient"),
    "521 to EHLO": ({"EHLO": b"521 blocked\r\n"}, "Transient"),
}


@pytest.mark.parametrize("case", AT_THE_DOOR)
async def test_a_refusal_at_the_door_is_of_our_address_unless_the_host_takes_no_mail(case: str) -> None:
    answers, fate = AT_THE_DOOR[case]
    async with peer(says(**answers)) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test", recipients=(Recipient("bob@one.test", "NEVER"),)))
        assert subject.fates == {fate: 1}
        assert not any(line[:4] in ("HELO", "MAIL") for talk in running.talks for line in talk.heard)


@pytest.mark.parametrize("unasked", [b"421 4.3.2 shutting down\r\n", b"250 and thanks again\r\n"], ids=["421", "250"])
async def test_a_reply_that_comes_unasked_between_two_mails_ends_the_session(unasked: bytes) -> None:
    idle = asyncio.Event()

    async def leaves(talk: Talk) -> None:
        await talk.greet()
        while await talk.hear() != "DATA":
            talk.say(b"250 ok\r\n")
        talk.say(b"354 go on\r\n")
        await talk.hear_mail()
        talk.say(b"250 taken\r\n")
        await idle.wait()
        talk.say(unasked)
        while True:
            await talk.hear()

    async with peer(leaves) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        (destination,) = subject.service.pool._destinations.values()
        assert [each.usable for each in destination._idle] == [True]
        idle.set()
        await until(lambda: not any(each.usable for each in destination._idle))
        await subject.deliver(a_record("bob@one.test"))
        assert subject.fates == {"Delivered": 2}
        assert [sum(line.startswith("MAIL") for line in talk.heard) for talk in running.talks] == [1, 1]


async def test_the_next_address_of_a_host_is_tried() -> None:
    busy = says(BANNER=b"421 busy\r\n")
    async with (
        peer(busy) as one,
        peer(busy, "127.0.0.9", one.port) as other,
        desk(ZONE, one.port) as subject,
    ):
        await subject.deliver(a_record("bob@both.test"))
        assert subject.fates == {"Transient": 1}
        assert (len(one.talks), len(other.talks)) == (1, 1)


async def test_a_limit_of_domains_in_a_session_is_obeyed() -> None:
    ehlo = b"250-peer.test\r\n250-PIPELINING\r\n250 LIMITS RCPTDOMAINMAX=1\r\n"
    async with peer(says(EHLO=ehlo)) as running, desk(ZONE, running.port) as subject:
        for domain in ("one.test", "two.test", "one.test"):
            await subject.deliver(a_record(f"bob@{domain}"))
        assert subject.fates == {"Delivered": 3}
        for talk in running.talks:
            assert len({line.rpartition("@")[2] for line in talk.heard if line.startswith("RCPT")}) <= 1


async def test_a_contradicting_status_is_reported_with_the_class_of_the_code_and_the_peers_words() -> None:
    async with (
        peer(says(RCPT=b"550-quite\r\n550 4.9.9 another thing\r\n")) as running,
        desk(ZONE, running.port) as subject,
    ):
        await subject.deliver(a_record("bob@one.test"))
        report = subject.spool.stored[1].message
        assert b"Status: 5.9.9\r\n" in report
        assert b"Diagnostic-Code: smtp; 550 5.9.9 quite 4.9.9 another thing" in report


async def test_a_report_leaves_with_null_reverse_path_and_asks_for_no_report() -> None:
    async def refusing(talk: Talk) -> None:
        await says(EHLO=b"250-peer.test\r\n250 DSN\r\n", RCPT=b"550 5.1.1 no such user\r\n")(talk)

    async with peer(refusing) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test"))
        await until(lambda: subject.service.counters.records_settled == 2)  # the report was refused, too
        heard = [line for talk in running.talks for line in talk.heard]
        assert "MAIL FROM:<>" in heard
        assert "RCPT TO:<a@sender.test> NOTIFY=NEVER" in heard
        assert len(subject.spool.stored) == 2


async def test_a_long_text_line_leaves_as_it_came() -> None:
    got = b""

    async def keeps(talk: Talk) -> None:
        nonlocal got
        await talk.greet()
        while await talk.hear() != "DATA":
            talk.say(b"250 ok\r\n")
        talk.say(b"354 go on\r\n")
        got = await talk.hear_mail()
        talk.say(b"250 taken\r\n")
        await talk.hear()

    message = BODY + b"x" * 5000 + b"\r\n"
    async with peer(keeps) as running, desk(ZONE, running.port, delivery=Delivery()) as subject:
        await subject.deliver(a_record("bob@one.test", message=message))
        assert subject.fates == {"Delivered": 1}
    assert got == message + b".\r\n"


async def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    early: list[bytes] = []

    async def slow(talk: Talk) -> None:
        await talk.greet(LOCKSTEP)
        while True:
            line = await talk.hear()
            await asyncio.sleep(0.02)
            early.append(bytes(talk.reader._buffer))  # type: ignore[attr-defined]
            if line == "DATA":
                talk.say(b"354 go on\r\n")
                await talk.hear_mail()
                talk.say(b"250 taken\r\n")
            else:
                talk.say(b"250 ok\r\n")

    async with peer(slow) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test", "carol@one.test"))
        assert subject.fates == {"Delivered": 2}
    assert early[:4] == [b""] * 4


DSN_PEERS: dict[str, tuple[bytes, dict[str, object]]] = {
    "nothing is made up": (b"250-peer.test\r\n250 DSN\r\n", {}),
    "nothing is said to who does not know it": (
        LOCKSTEP,
        {"ret": "HDRS", "envid": "x", "recipients": (Recipient("bob@one.test", "FAILURE", "rfc822;x@y.test"),)},
    ),
}


@pytest.mark.parametrize("case", DSN_PEERS)
async def test_a_peer_hears_no_dsn_parameter_that_was_not_given_or_that_it_does_not_know(case: str) -> None:
    ehlo, changes = DSN_PEERS[case]
    async with peer(says(EHLO=ehlo)) as running, desk(ZONE, running.port) as subject:
        await subject.deliver(a_record("bob@one.test", **changes))
        assert running.talks[0].heard[1:3] == ["MAIL FROM:<a@sender.test>", "RCPT TO:<bob@one.test>"]
