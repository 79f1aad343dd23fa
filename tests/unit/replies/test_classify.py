"""Answers become classes: the labelled set, the two things that must never happen, and what is done with unknown texts."""

from __future__ import annotations

import pytest

from relayfleet.relay.replies.classify import MOST_UNKNOWN_TEXTS, Classifier
from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.replies.rules import load_rules
from relayfleet.relay.replies.verdict import Action, Scope
from tests.unit.replies.answers import Answer, load

ANSWERS = load()


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(load_rules())


def name(answer: Answer) -> str:
    return f"{answer.reply.code} {answer.reply.text[:60]}"


def test_the_labelled_set_is_large_enough_and_has_no_twins() -> None:
    assert len(ANSWERS) >= 300
    assert len({(each.reply, each.host, each.phase) for each in ANSWERS}) == len(ANSWERS)


@pytest.mark.parametrize("answer", [each for each in ANSWERS if each.looks_permanent_but_is_ours], ids=name)
def test_a_5xx_that_speaks_of_our_address_never_bounces_the_recipient(classifier: Classifier, answer: Answer) -> None:
    assert not classifier.classify(answer.reply, answer.host, answer.phase).bounces(answer.reply.code)


@pytest.mark.parametrize("answer", [each for each in ANSWERS if each.looks_temporary_but_is_gone], ids=name)
def test_a_4xx_that_says_no_such_user_bounces(classifier: Classifier, answer: Answer) -> None:
    assert classifier.classify(answer.reply, answer.host, answer.phase).bounces(answer.reply.code)


def test_nearly_all_labels_are_met(classifier: Classifier) -> None:
    verdicts = [(each, classifier.classify(each.reply, each.host, each.phase)) for each in ANSWERS]
    wrong = [
        f"{name(each)} → {verdict}" for each, verdict in verdicts if verdict.bounces(each.reply.code) != each.bounces
    ]
    assert len(wrong) <= len(ANSWERS) * 0.02, wrong


def test_the_first_digit_decides_only_what_no_rule_knows(classifier: Classifier) -> None:
    for code, action in ((450, Action.RETRY), (550, Action.FAIL)):
        verdict = classifier.classify(Reply(code, ("quite another thing",)), "mx.test", "rcpt")
        assert (verdict.action, verdict.rule) == (action, "first-digit")


def test_unknown_texts_are_counted_without_what_changes_from_mail_to_mail() -> None:
    classifier = Classifier(())
    for text in ("9F2A nothing for <a@b.test> from 192.0.2.1", "77C0 nothing for <c@d.test> from 198.51.100.9"):
        classifier.classify(Reply(550, (text,)), "mx.test", "rcpt")
    assert list(classifier.unknown.values()) == [2]


def test_a_flood_of_unknown_texts_costs_bounded_memory() -> None:
    classifier = Classifier(())
    for number in range(3 * MOST_UNKNOWN_TEXTS):
        text = "".join(chr(97 + int(digit)) for digit in str(number))
        classifier.classify(Reply(550, (text,)), "mx.test", "rcpt")
    assert len(classifier.unknown) == MOST_UNKNOWN_TEXTS + 1
    assert sum(classifier.unknown.values()) == 3 * MOST_UNKNOWN_TEXTS


def test_the_same_words_of_another_provider_do_not_count(classifier: Classifier) -> None:
    reply = Reply(550, ("RP:ORQ 12",))
    assert classifier.classify(reply, "mx1.netease.com", "rcpt").scope is Scope.IP
    for other in ("netease.com.evil.test", "evilnetease.com"):
        assert classifier.classify(reply, other, "rcpt").rule == "first-digit"
