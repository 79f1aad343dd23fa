"""What an answer, or none, becomes: fate and enhanced status (RFC 3463, registry of RFC 5248)."""

from __future__ import annotations

import pytest

from relayfleet.relay.delivery.errors import (
    BusyError,
    ConnectError,
    LocalError,
    LostError,
    PeerTimeoutError,
    ProtocolError,
    SessionError,
)
from relayfleet.relay.delivery.judging import answered, unanswered
from relayfleet.relay.delivery.outcome import Fate, Outcome, Place
from relayfleet.relay.replies.classify import Classifier
from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.replies.rules import load_rules
from relayfleet.relay.routing.errors import DnsPermanent, DnsTemporary
from relayfleet.relay.signing.keyring import SigningKeyUnavailableError
from relayfleet.relay.spool.interface import SpoolUnavailable
from relayfleet.relay.spool.record import Recipient

BOB = Recipient("bob@one.test")
PLACE = Place("eu-1", "mx.one.test", "192.0.2.1")
CLASSIFIER = Classifier(load_rules())

NO_ANSWER: dict[str, tuple[Exception, str, Fate]] = {
    "nobody answers the call": (ConnectError("connect", "refused"), "4.4.1", Fate.TRANSIENT),
    "the connection is lost": (LostError("mail", "reset"), "4.4.2", Fate.TRANSIENT),
    "the peer is silent": (PeerTimeoutError("mail", "no answer"), "4.4.2", Fate.TRANSIENT),
    "the peer talks nonsense": (ProtocolError("mail", "what?"), "4.4.2", Fate.TRANSIENT),
    "no resolver answers": (DnsTemporary("no resolver answered"), "4.4.3", Fate.TRANSIENT),
    "this relay has no way there": (LocalError("local", "no source"), "4.4.4", Fate.TRANSIENT),
    "all sessions are in use": (BusyError("local", "busy"), "4.4.5", Fate.TRANSIENT),
    "the key to sign with is missing": (SigningKeyUnavailableError("no key"), "4.7.5", Fate.TRANSIENT),
    "the journal is away": (SpoolUnavailable("away"), "4.3.0", Fate.TRANSIENT),
    "the domain has no route": (DnsPermanent("5.4.4", "no address"), "5.4.4", Fate.PERMANENT),
}


@pytest.mark.parametrize("case", NO_ANSWER)
def test_a_failure_of_ours_carries_its_code(case: str) -> None:
    error, status, fate = NO_ANSWER[case]
    outcome = unanswered(BOB, error, PLACE, CLASSIFIER, past_dot=False)
    assert (outcome.status, outcome.fate, outcome.code) == (status, fate, 0)


def test_no_answer_after_the_dot_is_uncertain() -> None:
    outcome = unanswered(BOB, SessionError("end", "lost"), PLACE, CLASSIFIER, past_dot=True)
    assert (outcome.status, outcome.fate) == ("4.4.2", Fate.UNCERTAIN)


def judged(code: int, text: str) -> Outcome:
    return answered(BOB, "rcpt", Reply(code, (text,)), PLACE, CLASSIFIER, dsn=True)


MISMATCHES = {
    "a 550 that says 4.x is permanent": (550, "4.9.9 quite another thing", Fate.PERMANENT, "5.9.9"),
    "a 450 that says 5.x is temporary": (450, "5.9.9 quite another thing", Fate.TRANSIENT, "4.9.9"),
    "a 550 that agrees": (550, "5.9.9 quite another thing", Fate.PERMANENT, "5.9.9"),
    "a 550 without a status": (550, "quite another thing", Fate.PERMANENT, "5.0.0"),
    "a 450 without a status": (450, "quite another thing", Fate.TRANSIENT, "4.0.0"),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_the_code_is_trusted_where_the_status_contradicts_it_and_both_are_kept(case: str) -> None:
    code, text, fate, status = MISMATCHES[case]
    outcome = judged(code, text)
    assert (outcome.fate, outcome.status) == (fate, status)
    assert outcome.answer.startswith(f"{code} ")
    assert text in outcome.answer


def test_552_to_rcpt_is_as_temporary_as_452_where_nothing_more_is_said() -> None:
    assert judged(552, "no").fate is Fate.TRANSIENT
    assert judged(552, "5.2.3 message exceeds maximum size for this mailbox").fate is Fate.PERMANENT
    later = answered(BOB, "end", Reply(552, ("no",)), PLACE, CLASSIFIER, dsn=True)
    assert later.fate is Fate.PERMANENT
