"""The log line that finds a mail, and counters that stay bounded."""

from __future__ import annotations

import logging

import pytest

from relayfleet.relay.delivery.judging import UNREACHABLE
from relayfleet.relay.delivery.outcome import Fate, Outcome, Place
from relayfleet.relay.delivery.telling import MOST_ANSWERS, DeliveryCounters, tell
from relayfleet.relay.spool.record import Recipient, Record

RECORD = Record("01M86QQ6FBVNZW6T7R8H0Z5F9V", "a@sender.test", (), b"", attempt=2)


def outcome(address: str, host: str = "mx1.one.test", text: str = "2.0.0 taken") -> Outcome:
    return Outcome(Recipient(address), Fate.DELIVERED, "end", 250, "", text, Place("eu-1", host, "192.0.2.1", True))


def test_one_line_says_all_that_is_asked_about_a_mail(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tell(DeliveryCounters(), RECORD, [outcome("b@one.test"), outcome("c@one.test")], 0.25)
    (line,) = caplog.messages
    assert line == (
        "id=01M86QQ6FBVNZW6T7R8H0Z5F9V attempt=2 class=Delivered reason=Delivered from=<a@sender.test>"
        " to=<b@one.test>,<c@one.test> source=eu-1 host=mx1.one.test address=192.0.2.1 tls=yes phase=end code=250 status=-"
        " seconds=0.250 text='2.0.0 taken'"
    )


def test_different_answers_get_lines_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    refused = Outcome(Recipient("x@y.test"), Fate.TRANSIENT, "connect", 0, "4.4.1", "refused", Place(), UNREACHABLE)
    tell(DeliveryCounters(), RECORD, [outcome("b@one.test"), refused], 0.25)
    assert len(caplog.messages) == 2
    assert "reason=Unreachable" in caplog.messages[1]
    assert "host=- " in caplog.messages[1]


def test_counters_are_bounded_however_many_providers_there_are() -> None:
    counters = DeliveryCounters()
    for number in range(3 * MOST_ANSWERS):
        tell(counters, RECORD, [outcome("b@one.test", host=f"mx.domain{number}.test")], 0.0)
    assert len(counters.answers) == MOST_ANSWERS + 1
    assert counters.answers.total() == 3 * MOST_ANSWERS == counters.recipients["Delivered"]
