"""How many sessions a destination gets: what raises the number, what cuts it, and what is no word about load."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayfleet.relay.delivery.concurrency import HOLD_SECONDS, Concurrency, Signal, signal
from relayfleet.relay.delivery.errors import ConnectError, LostError, PeerTimeoutError, Phase, ProtocolError
from relayfleet.relay.delivery.judging import answered, unanswered
from relayfleet.relay.delivery.outcome import Outcome, Place
from relayfleet.relay.delivery.transaction import ClaimExpiredError
from relayfleet.relay.replies.classify import Classifier
from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.replies.rules import load_rules
from relayfleet.relay.spool.record import Recipient

CLASSIFIER = Classifier(load_rules())
MOST = 20


def said(phase: Phase, code: int, text: str, host: str = "mx.one.test") -> Outcome:
    return answered(Recipient("bob@one.test"), phase, Reply(code, (text,)), Place(host=host), CLASSIFIER, dsn=True)


def silent(error: Exception, past_dot: bool = False) -> Outcome:
    return unanswered(Recipient("bob@one.test"), error, Place(), CLASSIFIER, past_dot)


def rounds(subject: Concurrency, deliveries: int, now: float = 0.0) -> Concurrency:
    """Deliveries while as many sessions are open as there may be."""
    for _ in range(deliveries):
        subject = subject.raised(subject.limit(MOST), MOST, now)
    return subject


SAID: dict[str, tuple[Outcome, Signal]] = {
    "delivered": (said("end", 250, "ok"), Signal.WELL),
    "too many connections": (said("mail", 421, "too many concurrent connections"), Signal.STRAIN),
    "Microsoft counts sessions": (said("mail", 451, "IB007", "x.mail.protection.outlook.com"), Signal.STRAIN),
    "throttled, as a 5xx": (
        said("rcpt", 550, "5.7.28 unusual rate of mail", "gmail-smtp-in.l.google.com"),
        Signal.STRAIN,
    ),
    "throttled": (said("end", 451, "rate limit exceeded"), Signal.STRAIN),
    "our address is blocked": (said("rcpt", 554, "blocked using zen.spamhaus.org"), Signal.STRAIN),
    "the server leaves": (said("rcpt", 421, "4.3.2 service shutting down"), Signal.STRAIN),
    "the server has trouble and says so to MAIL": (said("mail", 451, "4.3.0 local error in processing"), Signal.STRAIN),
    "greylisted": (said("rcpt", 451, "4.7.1 greylisted, come back in five minutes"), Signal.NOTHING),
    "greylisted by 421": (said("rcpt", 421, "4.7.0 greylisting in action"), Signal.NOTHING),
    "try later, to a recipient": (said("rcpt", 451, "try again later"), Signal.NOTHING),
    "try later, to a mail": (said("end", 451, "4.3.0 try again later"), Signal.NOTHING),
    "no such user": (said("rcpt", 550, "5.1.1 no such user"), Signal.NOTHING),
    "mailbox full": (said("rcpt", 452, "4.2.2 mailbox full"), Signal.NOTHING),
    "the recipient gets too much": (said("rcpt", 450, "the user is receiving mail too quickly"), Signal.NOTHING),
    "content": (said("end", 554, "5.7.1 looks like spam"), Signal.NOTHING),
    "the sender's domain": (said("mail", 550, "5.7.1 SPF check failed"), Signal.NOTHING),
    "too many recipients": (said("rcpt", 452, "4.5.3 too many recipients"), Signal.NOTHING),
    "a session's worth of mails": (
        said("mail", 421, "too many messages in this session, please reconnect"),
        Signal.NOTHING,
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_what_an_answer_says_about_load(case: str) -> None:
    outcome, expected = SAID[case]
    assert signal([outcome], None) is expected


def test_one_word_of_strain_counts_more_than_a_delivery() -> None:
    assert signal([SAID["delivered"][0], SAID["throttled"][0], SAID["no such user"][0]], None) is Signal.STRAIN
    assert signal([SAID["delivered"][0], SAID["no such user"][0]], None) is Signal.WELL


@pytest.mark.parametrize("error", [LostError("mail", "reset"), PeerTimeoutError("end", "no answer")])
def test_a_session_that_breaks_is_told_apart(error: Exception) -> None:
    assert signal([silent(error)], error) is Signal.BROKEN
    # It closed after it had answered for all: the answers tell.
    assert signal([SAID["no such user"][0]], error) is Signal.NOTHING


@pytest.mark.parametrize(
    "error", [ClaimExpiredError("old"), ProtocolError("body", "what?"), ConnectError("connect", "no")]
)
def test_what_is_no_load_of_the_peers_says_nothing(error: Exception) -> None:
    assert signal([silent(error)], error) is Signal.NOTHING


def test_it_begins_with_five_and_doubles_each_round() -> None:
    subject = Concurrency()
    assert subject.limit(MOST) == 5
    assert [rounds(subject, n).limit(MOST) for n in (5, 15, 500)] == [10, 20, MOST]


def test_after_a_cut_it_gets_one_more_a_round() -> None:
    subject = Concurrency().capped(5, now=0.0)
    assert [rounds(subject, n, HOLD_SECONDS).limit(MOST) for n in (5, 6, 12, 500)] == [5, 6, 7, MOST]


def test_what_is_not_used_is_not_raised() -> None:
    subject = Concurrency()
    for _ in range(500):
        subject = subject.raised(4, MOST, 0.0)
    assert subject.limit(MOST) == 5


def test_one_burst_of_strain_cuts_once_and_holds() -> None:
    subject = rounds(Concurrency(), 500)
    for _ in range(20):
        subject = subject.halved(began=9.0, most=MOST, now=10.0)
    assert subject.limit(MOST) == 10
    assert rounds(subject, 500, now=10.0 + HOLD_SECONDS - 1).limit(MOST) == 10
    assert rounds(subject, 500, now=10.0 + HOLD_SECONDS).limit(MOST) == MOST
    assert subject.halved(began=11.0, most=MOST, now=12.0).limit(MOST) == 5


def test_a_peer_with_a_limit_gets_that_many() -> None:
    assert rounds(Concurrency(), 500).capped(3, 0.0).limit(MOST) == 3
    assert Concurrency().capped(0, 0.0).limit(MOST) == 1


def test_a_broken_session_costs_one_and_holds_nothing() -> None:
    subject = rounds(Concurrency(), 500).lessened(MOST)
    assert subject.limit(MOST) == MOST - 1
    assert rounds(subject, 25).limit(MOST) == MOST


def test_a_smaller_bound_of_the_user_counts_at_once() -> None:
    subject = rounds(Concurrency(), 500)
    assert subject.limit(2) == 2
    assert subject.halved(1.0, 2, 1.0).limit(MOST) == 1


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["raised", "halved", "lessened", "capped"]), st.integers(0, 30)), max_size=60
    ),
    most=st.integers(1, 100),
)
def test_it_stays_between_one_and_the_bound(steps: list[tuple[str, int]], most: int) -> None:
    subject = Concurrency()
    for now, (step, number) in enumerate(steps):
        before = subject
        match step:
            case "raised":
                subject = subject.raised(number, most, now * 40.0)
                assert subject.limit(most) >= before.limit(most)
            case "halved":
                subject = subject.halved(now * 40.0 - number, most, now * 40.0)
            case "lessened":
                subject = subject.lessened(most)
            case _:
                subject = subject.capped(number, now * 40.0)
                assert subject.limit(most) <= max(number, 1)
        if step != "raised":
            assert subject.limit(most) <= before.limit(most)
        assert 1 <= subject.limit(most) <= most
