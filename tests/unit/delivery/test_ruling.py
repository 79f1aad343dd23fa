"""Whom a delivery rule means, and which of several is followed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from relayfleet.protocol.relay_config import DeliveryRule, RuleTerm
from relayfleet.relay.delivery.ruling import DeliveryRules
from relayfleet.relay.spool.record import Recipient, Record

BOB, CAROL = Recipient("bob@one.test"), Recipient("carol@two.test")
RECORD = Record("ID", "News@Sender.test", (BOB, CAROL), b"", credential="news")
REPORT = replace(RECORD, sender="")


def rule(name: str, action: str = "Hold", **terms: str) -> DeliveryRule:
    return DeliveryRule(name, action, tuple(RuleTerm(what, value) for what, value in terms.items()))


def names(record: Record, *rules: DeliveryRule) -> list[str]:
    return [found.name if found else "" for found in DeliveryRules(rules).of(record, record.recipients)]


MEANT = {
    "no rule, nobody": (RECORD, [], ["", ""]),
    "a recipient's domain, by recipient": (RECORD, [rule("r", recipientDomain="one.test")], ["r", ""]),
    "not what is below it": (RECORD, [rule("r", recipientDomain="test")], ["", ""]),
    "whatever its case": (
        replace(RECORD, recipients=(Recipient("bob@ONE.test"),)),
        [rule("r", recipientDomain="one.test")],
        ["r"],
    ),
    "by its A-labels": (
        replace(RECORD, recipients=(Recipient("bob@bücher.test"),)),
        [rule("r", recipientDomain="xn--bcher-kva.test")],
        ["r"],
    ),
    "a sender, all of his recipients": (RECORD, [rule("r", sender="news@sender.TEST")], ["r", "r"]),
    "another sender of the domain": (RECORD, [rule("r", sender="ann@sender.test")], ["", ""]),
    "a sender's domain": (RECORD, [rule("r", senderDomain="sender.test")], ["r", "r"]),
    "a credential": (RECORD, [rule("r", credential="news")], ["r", "r"]),
    "a credential with its case": (RECORD, [rule("r", credential="News")], ["", ""]),
    "the null sender": (REPORT, [rule("r", sender="<>")], ["r", "r"]),
    "the null sender is nobody else": (RECORD, [rule("r", sender="<>")], ["", ""]),
    "the null sender has no domain": (REPORT, [rule("r", senderDomain="sender.test")], ["", ""]),
    "a report, which is not bounced by its mail's credential": (
        REPORT,
        [rule("r", "Bounce", credential="news")],
        ["", ""],
    ),
    "nor by its recipient's domain": (REPORT, [rule("r", "Bounce", recipientDomain="one.test")], ["", ""]),
    "but by a rule for reports": (
        REPORT,
        [rule("r", "Bounce", credential="news"), rule("s", "Bounce", credential="news", sender="<>")],
        ["s", "s"],
    ),
    "a report, which is purged with its mail's credential": (
        REPORT,
        [rule("r", "Purge", credential="news")],
        ["r", "r"],
    ),
    "and held with it": (REPORT, [rule("r", credential="news")], ["r", "r"]),
    "all terms hold": (RECORD, [rule("r", credential="news", recipientDomain="two.test")], ["", "r"]),
    "one term does not hold": (RECORD, [rule("r", credential="other", recipientDomain="two.test")], ["", ""]),
    "a client without a credential": (replace(RECORD, credential=""), [rule("r", credential="news")], ["", ""]),
    "what was accepted before": (
        replace(RECORD, accepted_at=1795881599.9),
        [rule("r", credential="news", acceptedBefore="2026-11-28T16:00:00Z")],
        ["r", "r"],
    ),
    "what came later": (
        replace(RECORD, accepted_at=1795881600.0),
        [rule("r", credential="news", acceptedBefore="2026-11-28T16:00:00Z"), rule("s", recipientDomain="one.test")],
        ["s", ""],
    ),
    "a domain that can be none": (
        replace(RECORD, recipients=(Recipient("bob@-..-"),)),
        [rule("r", recipientDomain="one.test"), rule("s", credential="news")],
        ["s"],
    ),
}


@pytest.mark.parametrize("sentence", MEANT)
def test_whom_a_rule_means(sentence: str) -> None:
    record, rules, expected = MEANT[sentence]
    assert names(record, *rules) == expected


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_of_several_the_gentlest_is_followed_in_whatever_order_they_are_stated(order: tuple[int, ...]) -> None:
    stated = [
        rule("a", "Purge", credential="news"),
        rule("b", "Bounce", credential="news", recipientDomain="one.test"),
        rule("d", "Hold", recipientDomain="two.test"),
        rule("c", "Hold", recipientDomain="two.test"),
    ]
    assert names(RECORD, *(stated[each] for each in order)) == ["b", "c"]


@pytest.mark.parametrize(
    "odd",
    [
        rule("odd", "Defer", credential="news"),
        rule("odd", "Requeue", credential="news"),
        rule("odd", "Requeue", deferredBefore="2026-11-28T16:00:00Z"),
        rule("odd", "Requeue", credential="news", deferredBefore="now"),
        rule("odd", "Hold", credential="news", deferredBefore="2026-11-28T16:00:00Z"),
        rule("odd", "Purge"),
        rule("odd", "Purge", acceptedBefore="2026-11-28T16:00:00Z"),
        rule("odd", "Purge", credential="news", acceptedBefore="2026-11-28T16:00:00"),
        rule("odd", "Purge", credential="news", acceptedBefore="yesterday"),
        rule("odd", "Purge", credential="news", subject="a"),
    ],
)
def test_a_rule_that_this_version_does_not_know_means_nobody_and_is_told(odd: DeliveryRule) -> None:
    rules = DeliveryRules([odd, rule("b", credential="news")])
    assert (rules.unknown, len(rules)) == (("odd",), 1)
    assert names(RECORD, odd) == ["", ""]


MOMENT = 1795881600.0
AGAIN = rule("again", "Requeue", recipientDomain="one.test", deferredBefore="2026-11-28T16:00:00Z")
OF_NEWS = rule("news", "Requeue", credential="news", deferredBefore="2026-11-28T16:00:00Z")

REQUEUED = {
    "who waits since before the moment": ([AGAIN], -1.0, 0.0, "again"),
    "nobody who was put off after it, so that he is moved once": ([AGAIN], 0.0, 60.0, ""),
    "nobody before the moment has come": ([AGAIN], -60.0, -1.0, ""),
    "nobody else": ([rule("r", "Requeue", sender="<>", deferredBefore="2026-11-28T16:00:00Z")], -1.0, 0.0, ""),
    "who is meant by one of two, the first by name": ([OF_NEWS, AGAIN], -1.0, 0.0, "again"),
    "not who is held all the same": ([AGAIN, rule("h", recipientDomain="one.test")], -1.0, 0.0, ""),
    "with somebody who is held, if he himself is not": (
        [OF_NEWS, rule("h", recipientDomain="one.test")],
        -1.0,
        0.0,
        "news",
    ),
    "who is ended then": ([AGAIN, rule("p", "Purge", credential="news")], -1.0, 0.0, "again"),
    "nobody whose mail was accepted too late": (
        [
            rule(
                "r",
                "Requeue",
                credential="news",
                deferredBefore="2026-11-28T16:00:00Z",
                acceptedBefore="1970-01-01T00:00:00Z",
            )
        ],
        -1.0,
        0.0,
        "",
    ),
}


@pytest.mark.parametrize("sentence", REQUEUED)
def test_whom_a_requeue_means(sentence: str) -> None:
    """Seconds from the moment of the rules: when it was put off, and now."""
    rules, deferred, now, expected = REQUEUED[sentence]
    assert DeliveryRules(rules).requeued_by(RECORD, MOMENT + deferred, MOMENT + now) == expected


def test_a_requeue_says_when_and_nothing_of_what() -> None:
    rules = DeliveryRules([AGAIN, OF_NEWS])
    assert rules.of(RECORD, RECORD.recipients) == [None, None]
    assert (len(rules), rules.unknown) == (2, ())
    assert rules.moments == {MOMENT}
