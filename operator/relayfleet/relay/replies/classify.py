"""Answers become classes. The rules decide; the first digit is only asked when no rule knows the answer, and then we count.

The first digit is a poor judge: providers send "your address is throttled" as 550 and "no such user" as 450. A 5xx that speaks of our
address never becomes a bounce, a 4xx that says the user does not exist does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from relayfleet.relay.replies.reply import Reply
from relayfleet.relay.replies.rules import Rule
from relayfleet.relay.replies.verdict import Action, Scope, Verdict

MOST_UNKNOWN_TEXTS = 1000
_CHANGING = re.compile(r"<[^>]*>|\S+@\S+|\b[0-9a-f]*\d[0-9a-f.:-]*\w*|\s+", re.IGNORECASE)

FIRST_DIGIT_PERMANENT = Verdict(Scope.RECIPIENT, "Rejected", Action.FAIL, "first-digit")
FIRST_DIGIT_TRANSIENT = Verdict(Scope.DESTINATION, "Deferred", Action.RETRY, "first-digit")


class Classifier:
    """Asks the rules in order. `unknown` counts the texts that no rule knew, with what changes from mail to mail taken out."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self.unknown: Counter[str] = Counter()

    def classify(self, reply: Reply, host: str, phase: str) -> Verdict:
        """The meaning of a negative reply from `host` (MX name) in `phase`."""
        code, status, text = str(reply.code), reply.status[2:], reply.text
        host = f".{host.lower()}"
        for rule in self._rules:
            if rule.matches(code, status, text, host, phase):
                return rule.verdict
        self._count(code, text)
        return FIRST_DIGIT_PERMANENT if reply.code >= 500 else FIRST_DIGIT_TRANSIENT

    def _count(self, code: str, text: str) -> None:
        key = f"{code} {_CHANGING.sub(' ', text).strip()[:120]}"
        if key in self.unknown or len(self.unknown) < MOST_UNKNOWN_TEXTS:
            self.unknown[key] += 1
        else:
            self.unknown["other"] += 1
