"""How well answers are understood, beside first-digit logic, on the labelled set of the tests; and what a verdict costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from relayfleet.relay.replies.classify import Classifier
from relayfleet.relay.replies.rules import load_rules
from tests.unit.replies.answers import Answer, load

ROUNDS = 20


async def run() -> list[dict[str, Any]]:
    classifier = Classifier(load_rules())
    answers = load()

    def ours(answer: Answer) -> bool:
        return classifier.classify(answer.reply, answer.host, answer.phase).bounces(answer.reply.code)

    def first_digit(answer: Answer) -> bool:
        return answer.reply.code >= 500

    def row(name: str, chosen: Sequence[Answer]) -> dict[str, Any]:
        return {
            "name": name,
            "value": share(chosen, ours),
            "unit": "share",
            "peer": "first digit",
            "peer_value": share(chosen, first_digit),
            "n": len(chosen),
            "detail": "bounce or try again, against the label",
        }

    return [
        row("replies.accuracy", answers),
        row("replies.5xx-but-throttle-or-block", [each for each in answers if each.looks_permanent_but_is_ours]),
        row("replies.4xx-but-no-such-user", [each for each in answers if each.looks_temporary_but_is_gone]),
        scope_and_action(classifier, answers),
        cost(classifier, answers),
    ]


def share(answers: Sequence[Answer], bounces: Callable[[Answer], bool]) -> float:
    """Of the answers, how many are judged as labelled."""
    return round(sum(bounces(each) == each.bounces for each in answers) / len(answers), 4)


def scope_and_action(classifier: Classifier, answers: Sequence[Answer]) -> dict[str, Any]:
    verdicts = [(each, classifier.classify(each.reply, each.host, each.phase)) for each in answers]
    right = sum((verdict.scope, verdict.action) == (each.scope, each.action) for each, verdict in verdicts)
    return line("replies.scope-and-action", round(right / len(answers), 4), "share", len(answers), "both as labelled")


def cost(classifier: Classifier, answers: Sequence[Answer]) -> dict[str, Any]:
    began = time.process_time()
    for _ in range(ROUNDS):
        for each in answers:
            classifier.classify(each.reply, each.host, each.phase)
    seconds = (time.process_time() - began) / ROUNDS / len(answers)
    return line("replies.cost", round(seconds * 1e6, 1), "us", ROUNDS * len(answers), "CPU for one negative answer")


def line(name: str, value: float, unit: str, count: int, detail: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "peer": "", "peer_value": None, "n": count, "detail": detail}
